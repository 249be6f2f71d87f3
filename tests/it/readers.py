"""Reads two tables over and over while they are published, by each engine that is installed, until the file `stop` appears.
With `RECOST_TESTS=all` all of them have to be.

Of each run all rows have the run's number, and both tables add up to a thousand times that. Prints, by engine and way of
reading, how many results were of one run, of several (`torn`), of a part of one (`short`), and how often a file was gone by the
time it was to be opened.
"""

import importlib
import json
import os
import sys

root = sys.argv[1]
current = os.path.join(root, "current")


def present(name):
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        if os.environ.get("RECOST_TESTS") == "all":
            raise
        return None


duckdb, polars, pandas = present("duckdb"), present("polars"), present("pandas")
if duckdb is None and polars is None and pandas is None:
    raise ModuleNotFoundError("none of duckdb, polars and pandas")


def by_duckdb(base, table):
    glob = f"{base}/{table}/**/*.parquet"
    return duckdb.execute(f"select min(run), max(run), sum(amount) from read_parquet('{glob}')").fetchone()


def by_polars(base, table):
    rows = polars.scan_parquet(f"{base}/{table}/**/*.parquet")
    run, amount = polars.col("run"), polars.col("amount")
    return rows.select(run.min().alias("a"), run.max().alias("b"), amount.sum()).collect().row(0)


def by_pandas(base, table):
    rows = pandas.read_parquet(f"{base}/{table}")
    return rows.run.min(), rows.run.max(), rows.amount.sum()


def by_pointer(base, _):
    """Both tables in one query, by the one-liner of the manual."""
    duckdb.execute(f"set variable s = (select '{root}/' || snapshot from read_json('{root}/current.json'))")
    return duckdb.execute(
        """
        select min(run), max(run), if(sum(amount) filter (t = 'a') = sum(amount) filter (t = 'c'), sum(amount) // 2, -1)
        from (
            select 'a' as t, run, amount from read_parquet(getvariable('s') || 'allocations/**/*.parquet')
            union all
            select 'c', run, amount from read_parquet(getvariable('s') || 'charges/**/*.parquet')
        )
        """
    ).fetchone()


ways = {}
if duckdb:
    ways["duckdb, current"] = (by_duckdb, False)
    ways["duckdb, current.json"] = (by_pointer, True)
if polars:
    ways["polars, current"] = (by_polars, False)
    ways["polars, resolved once"] = (by_polars, True)
if pandas and present("pyarrow"):
    ways["pandas, current"] = (by_pandas, False)
    ways["pandas, resolved once"] = (by_pandas, True)

counts = {way: {"one run": 0, "torn": 0, "short": 0, "gone": 0} for way in ways}
while not os.path.exists(os.path.join(root, "stop")):
    for way, (read, once) in ways.items():
        count = counts[way]
        base = os.path.realpath(current) if once else current
        try:
            found = [read(base, table) for table in ("allocations", "charges")]
        except (OSError, duckdb.IOException if duckdb else OSError) as error:
            count["gone"] += 1
            count["said"] = str(error)[:200]
            continue
        single = all(low == high for low, high, _ in found)
        whole = all(total == low * 1000 for low, _, total in found)
        # Of both tables together only what resolves once promises anything.
        together = not once or read is by_pointer or found[0][0] == found[1][0]
        count["torn" if not (single and together) else "one run" if whole else "short"] += 1
print(json.dumps(counts))
