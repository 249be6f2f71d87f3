#!/usr/bin/env python3
"""From a clickstream to costs, next to DuckDB and Polars: ingest, features and attribution at growing sizes.

    cargo build --release
    python benches/clickstream_costs.py --events 1e6 3e6 10e6 [--peers duckdb polars] [--memory 512MiB] [--rounds 3] [--keep DIR]

For each size: `recost generate --clean` with a user for every ten events and 100,000 items over 30 days, `recost run` without
models over them, then each peer in a process of its own. DuckDB runs twice, with recost's memory as its memory_limit and with
none; Polars has no such bound. What the tables come to is read from all of them by one reader and has to be the same, or the
bench ends there. With several rounds all tools run in turn, and of each the round in the middle counts. Figures are added to --json, from which `benches/clickstream/chart.py` draws; a size that is there is left out,
unless --again. Exports and tables of a size are removed when it is done, unless --keep names a folder for them.
It needs the packages duckdb and polars, and GNU `time`.
"""
import argparse, json, os, pathlib, platform, shutil, sys, tempfile

from clickstream.results import differences, results
from measure import attempt, binary, run

HERE = pathlib.Path(__file__).resolve().parent
LAST, DAYS, ITEMS = "2026-10-31", 30, 100_000
STAGES = ["ingest", "features", "attribute"]
PEERS = {"duckdb": "DuckDB", "polars": "Polars"}

PIPELINE = """name = "Benchmark"
sources = [
  {{ name = "clickstream", kind = "events", path = "exports/events/ds={{date}}/*.parquet", dialect = "recost" }},
  {{ name = "catalogue", kind = "items", path = "exports/items/ds={{date}}/*.parquet", dialect = "recost" }},
  {{ name = "customers", kind = "users", path = "exports/users/ds={{date}}/*.parquet", dialect = "recost" }},
  {{ name = "telemetry", kind = "usage", path = "exports/usage/ds={{date}}/*.parquet", dialect = "recost" }},
  {{ name = "bills", kind = "charges", path = "exports/billing/*/billing_period={{period}}/*.parquet", dialect = "focus" }},
  {{ name = "ledger", kind = "charges", path = "exports/ledger/period={{period}}/*.parquet", dialect = "focus" }},
]
models = []
engine = {{ memory = "{memory}" }}
run = {{ history_days = {days} }}
attribution = {{ known_models = ["home-als", "similar-items", "trending"] }}
evaluation = {{ enabled = false }}
report = {{ after_run = false }}
"""


def size_of(folder):
    """Bytes below a folder; a file with several names counts once."""
    found = {(s.st_dev, s.st_ino): s.st_size for s in (f.lstat() for f in folder.rglob("*"))}
    return sum(found.values())


def shown(folder):
    free = shutil.disk_usage(folder).free
    return f"{size_of(folder) / 2**30:.1f} GiB in {folder}, {free / 2**30:.1f} GiB free"


def totals(taken, stages):
    return {"wall": taken.wall, "cpu": taken.cpu, "peak": taken.peak, "stages": stages}


def asked(recost, work, query):
    lines = run([recost, "sql", "pipeline.toml", query, "--format", "json"], work).out.splitlines()
    return [json.loads(line) for line in lines]


def of_recost(recost, work, memory):
    """Runs the night; gives what it took and what its tables come to."""
    (work / "pipeline.toml").write_text(PIPELINE.format(memory=memory, days=DAYS))
    shutil.rmtree(work / "warehouse", ignore_errors=True)
    taken = run([recost, "run", "pipeline.toml", "--date", LAST, "--device", "cpu"], work)
    query = "select stage, seconds as wall, cpu_seconds as cpu, peak_rss_bytes / 1048576.0 as peak from runs where stage <> 'run' order by started_at"
    rows = asked(recost, work, query)
    stages = {row.pop("stage"): {name: float(value) for name, value in row.items()} for row in rows}
    query = "select kind, sum(rows_in) as read, sum(rows_quarantined) as rejected, sum(rows_duplicate) as repeated from deliveries where kind in ('events', 'items', 'users', 'usage') group by kind"
    rows = asked(recost, work, query)
    ingested = {row.pop("kind"): {name: int(value) for name, value in row.items()} for row in rows}
    return totals(taken, stages), results(work / "warehouse/current", os.cpu_count()), ingested


def of_peer(name, work, memory):
    """Runs a peer; gives what it took, what its tables come to and what it ingested. One that fails says where it was."""
    out = work / f"out-{name}"
    shutil.rmtree(out, ignore_errors=True)
    script = HERE / "clickstream" / f"{name}_peer.py"
    # Where memory runs out it is the peer that goes, not its neighbours.
    words = ["choom", "-n", "1000", "--"] if shutil.which("choom") else []
    words += [sys.executable, str(script), "--exports", str(work / "exports"), "--out", str(out)]
    words += ["--last", LAST, "--days", str(DAYS), "--threads", str(os.cpu_count()), *(["--memory", memory] if memory else [])]
    taken = attempt(words, work)
    told = [json.loads(line) for line in taken.out.splitlines() if line.startswith("{")]
    told = told[-1] if told else {"stages": {}}
    figures = totals(taken, told["stages"])
    if taken.code:
        why = [line for line in taken.err.splitlines() if line.strip()] or [f"ended with {taken.code}"]
        wrong = [line for line in why if "Error" in line or "Exception" in line or "signal" in line]
        figures["failed"] = (wrong or why)[-1].strip()[:300]
        shutil.rmtree(out, ignore_errors=True)
        return figures, None, None
    figures["version"] = told["version"]
    found = results(out, os.cpu_count())
    shutil.rmtree(out)
    return figures, found, told["ingested"]


def held_against(name, ours, theirs):
    """Ends the bench where a peer did other work."""
    lines = differences(ours[0], theirs[0])
    for kind, counts in ours[1].items():
        lines += [f"{kind}, rows {what}: {n}, and {theirs[1][kind][what]}" for what, n in counts.items() if theirs[1][kind][what] != n]
    if lines:
        sys.exit(f"{name} did not do the same work (recost, and {name}):\n" + "\n".join(lines))


def line(name, figures):
    cells = [figures["stages"].get(stage) for stage in STAGES]
    total = {key: sum(c[key] for c in cells if c) for key in ["wall", "cpu"]}
    row = lambda key: "".join(f"{c[key]:>11.2f}" if c else f"{'':>11}" for c in cells)
    whole = all(cells)
    print(f"{name:<18}{'wall s':<8}{row('wall')}" + (f"{total['wall']:>11.2f}" if whole else f"{'':>11}") + f"{figures['wall']:>11.2f}")
    print(f"{'':<18}{'CPU s':<8}{row('cpu')}" + (f"{total['cpu']:>11.2f}" if whole else f"{'':>11}") + f"{figures['cpu']:>11.2f}")
    print(f"{'':<18}{'MiB':<8}{row('peak')}{'':>11}{figures['peak']:>11.0f}")
    if "failed" in figures:
        print(f"{'':<18}failed: {figures['failed']}")


def the_three(figures):
    """Wall seconds of the stages; more than any of a tool that failed."""
    return float("inf") if "failed" in figures else sum(figures["stages"][stage]["wall"] for stage in STAGES)


def once(work, a, recost):
    """Every tool over the same exports, one after the other: name and figures of each."""
    ours, *held = of_recost(recost, work, a.memory)
    print(f"  recost: {the_three(ours):.2f} s; {shown(work)}", flush=True)
    yield "recost", ours
    if not a.keep:
        shutil.rmtree(work / "warehouse")
    for peer in a.peers:
        for memory in [a.memory, None] if peer == "duckdb" else [None]:
            name = f"{PEERS[peer]}, {memory}" if memory else PEERS[peer]
            figures, *theirs = of_peer(peer, work, memory)
            if theirs[0] is not None:
                held_against(name, held, theirs)
                print(f"  {name}: {the_three(figures):.2f} s, the same {len(held[0])} tables", flush=True)
            yield name, figures


def measured(events, a, recost):
    """Every tool at one size."""
    work = pathlib.Path(a.keep or tempfile.mkdtemp(prefix="clickstream-")).resolve() / f"{events}"
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "exports").exists():
        size = ["--users", str(events // 10), "--items", str(ITEMS), "--events", str(events), "--days", str(DAYS), "--end", LAST]
        run([recost, "generate", *([] if a.faults else ["--clean"]), *size, "--out", "exports"], work)
    print(f"\n{events:,} events, {events // 10:,} users, memory {a.memory}; {shown(work)}", flush=True)
    rounds = {}
    for _ in range(a.rounds):
        for name, figures in once(work, a, recost):
            rounds.setdefault(name, []).append(figures)
    tools = {name: sorted(figures, key=the_three)[len(figures) // 2] for name, figures in rounds.items()}
    if not a.keep:
        shutil.rmtree(work)
        shutil.rmtree(work.parent, ignore_errors=True)
    print(f"{'':<26}" + "".join(f"{stage:>11}" for stage in [*STAGES, "the three", "process"]))
    for name, figures in tools.items():
        line(name, figures)
    return {"memory": a.memory, "rounds": a.rounds, "tools": tools}


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--events", nargs="+", type=lambda text: int(float(text)), default=[1_000_000, 3_000_000])
    ap.add_argument("--peers", nargs="*", choices=list(PEERS), default=list(PEERS))
    ap.add_argument("--memory", default="512MiB", help="of [engine], and DuckDB's memory_limit")
    ap.add_argument("--rounds", type=int, default=1, help="how often each tool runs; the round in the middle counts")
    ap.add_argument("--recost", default="target/release/recost")
    ap.add_argument("--json", default="docs/charts/clickstream-costs.json", help="figures of all sizes, added to")
    ap.add_argument("--keep", help="folder for exports and tables; exports that lie there are taken as they are")
    ap.add_argument("--faults", action="store_true", help="with malformed rows, duplicates and late events, to see that all tools take them alike; figures are not kept")
    ap.add_argument("--again", action="store_true", help="measure sizes that the JSON has, too")
    a = ap.parse_args()
    recost, file = binary(a.recost), pathlib.Path(a.json)
    figures = json.loads(file.read_text()) if file.exists() else {"sizes": {}}
    for events in a.events:
        if a.faults:
            measured(events, a, recost)
            continue
        if str(events) in figures["sizes"] and not a.again:
            print(f"{events:,} events are in {file}")
            continue
        figures["sizes"][str(events)] = measured(events, a, recost)
        figures["machine"] = f"{os.cpu_count()} cores, {platform.machine()}"
        figures["sizes"] = dict(sorted(figures["sizes"].items(), key=lambda size: int(size[0])))
        half = file.with_suffix(".new")
        half.write_text(json.dumps(figures, indent=1) + "\n")
        half.replace(file)


if __name__ == "__main__":
    main()
