#!/usr/bin/env python3
"""An oracle of cost attribution, written apart from the program: random nights, every digit of every table compared.

    python3 tests/oracle/attribution.py target/release/recost [--nights 25] [--seed 1] [--only N]

Each night is a random shop (night.py) written as files (project.py), which the program works through. The other files
here work out the same from docs/attribution.md, in whole numbers of 10^-18, and hold every table against it.
"""
import argparse, pathlib, random, shutil, sys, tempfile

sys.dont_write_bytecode = True

from books import Books
from night import Shop
from project import Program, write_bill, write_shop
from tables import COLUMNS, published


def differences(name, program, oracle):
    differ = [k for k in sorted(set(program) | set(oracle), key=str) if program.get(k) != oracle.get(k)]
    for key in differ[:12]:
        print(f"{name}: {key}\n    program {program.get(key)}\n    oracle  {oracle.get(key)}")
    return len(differ)


def work_through(recost, dir, shop):
    """The tables that the program and the oracle leave after the nights of a shop."""
    program, books = Program(recost, dir), Books(shop)
    write_shop(dir, shop)
    for closed, again, night in shop.steps:
        if closed:
            program.call("close", "pipeline.toml", closed)
            books.close(closed)
        for period, bill in again.items():
            write_bill(dir, period, bill)
            books.bills[period] = bill
        program.call("run", "pipeline.toml", "--date", str(night), "--device", "cpu")
        books.run(night)
    return published(program.tables(COLUMNS)), books.tables()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("recost")
    ap.add_argument("--nights", type=int, default=25)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--only", type=int, help="only this night, left in the folder oracle-night")
    ap.add_argument("--go-on", action="store_true", help="go on after a night that differs")
    a = ap.parse_args()
    recost, rows, wrong = str(pathlib.Path(a.recost).resolve()), {}, []
    for n in range(a.nights) if a.only is None else [a.only]:
        shop = Shop(random.Random(f"{a.seed}/{n}"))
        with tempfile.TemporaryDirectory() as temporary:
            dir = pathlib.Path(temporary if a.only is None else "oracle-night")
            shutil.rmtree(dir, ignore_errors=True)
            dir.mkdir(parents=True)
            program, oracle = work_through(recost, dir, shop)
        counts = {name: differences(name, program[name], oracle[name]) for name in oracle}
        if any(counts.values()):
            said = ", ".join(f"{count} of {name}" for name, count in counts.items() if count)
            print(f"night {n} of seed {a.seed}: {said} differ", flush=True)
            wrong.append(n)
            if not a.go_on:
                break
        for name in oracle:
            rows[name] = rows.get(name, 0) + len(oracle[name])
    if wrong:
        sys.exit(f"nights that differ: {wrong}")
    print(", ".join(f"{count} {name}" for name, count in rows.items()))
    print(f"{a.nights if a.only is None else 1} nights: all equal, to the last digit")


main()
