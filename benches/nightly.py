#!/usr/bin/env python3
"""One night, next to a peer, over the same exports, in one run.

    cargo build --release
    python benches/nightly.py --peer path/to/peer_nightly.py [--recost target/release/recost] [--keep DIR]

Generates 2 million events of 50,000 users and 20,000 items over 7 days without faults (the peer has no way to reject a
malformed row), runs `recost run` with one ALS model (64 dimensions, 10 iterations, top 50) and no evaluation, then the
peer with the same figures, and prints seconds per stage, totals, peak memory and their ratios. A peer is a script that
takes --exports, --out, --dim, --iterations and --k and prints a JSON summary last (stages, total_s, peak_mib).
"""
import argparse, json, pathlib, sys, tempfile

from measure import binary, run

ap = argparse.ArgumentParser()
ap.add_argument("--peer", required=True)
ap.add_argument("--recost", default="target/release/recost")
ap.add_argument("--keep", help="folder to work in; by default a temporary one")
a = ap.parse_args()
recost = binary(a.recost)
peer = binary(a.peer)
work = pathlib.Path(a.keep or tempfile.mkdtemp(prefix="nightly-")).resolve()
work.mkdir(parents=True, exist_ok=True)

PIPELINE = """
name = "Benchmark"
warehouse = "warehouse"
sources = [
  { name = "clickstream", kind = "events", path = "exports/events/ds={date}/*.parquet", dialect = "recost" },
  { name = "catalogue", kind = "items", path = "exports/items/ds={date}/*.parquet", dialect = "recost" },
  { name = "customers", kind = "users", path = "exports/users/ds={date}/*.parquet", dialect = "recost" },
  { name = "telemetry", kind = "usage", path = "exports/usage/ds={date}/*.parquet", dialect = "recost" },
  { name = "bills", kind = "charges", path = "exports/billing/*/billing_period={period}/*.parquet", dialect = "focus" },
  { name = "ledger", kind = "charges", path = "exports/ledger/period={period}/*.parquet", dialect = "focus" },
]
models = [{ id = "home-als", family = "als", params = { dim = 64, iterations = 10 } }]
recommend = { k = 50, exclude = "seen" }
evaluation = { enabled = false }
attribution = { known_models = ["similar-items", "trending"] }
report = { after_run = false }
"""


run([recost, "generate", "--scale", "medium", "--clean", "--out", "exports"], work)
(work / "pipeline.toml").write_text(PIPELINE)
wall, cpu, peak = run([recost, "run", "pipeline.toml", "--date", "2026-10-31", "--device", "cpu"], work).figures()
query = "select stage, seconds from runs where stage <> 'run' order by started_at"
stages = run([recost, "sql", "pipeline.toml", query, "--format", "csv"], work).out
ours = {k: float(v) for k, v in (line.split(",") for line in stages.splitlines()[1:])}
figures = ["--dim", "64", "--iterations", "10", "--k", "50"]
night = run([sys.executable, peer, "--exports", "exports", "--out", "out-peer", *figures], work)
peer_wall, peer_cpu, peer_peak = night.figures()
theirs = json.loads(night.out.splitlines()[-1])["stages"]

print(f"{'stage':<12}{'recost s':>10}{'peer s':>10}{'peer / recost':>16}")
for stage in dict.fromkeys([*ours, *theirs]):
    o, t = ours.get(stage), theirs.get(stage)
    ratio = f"{t / o:.2f}" if o and t else ""
    print(f"{stage:<12}{o if o is not None else 0:>10.2f}{t if t is not None else 0:>10.2f}{ratio:>16}")
print(f"{'wall':<12}{wall:>10.2f}{peer_wall:>10.2f}{peer_wall / wall:>16.2f}")
print(f"{'CPU':<12}{cpu:>10.2f}{peer_cpu:>10.2f}{peer_cpu / cpu:>16.2f}")
print(f"{'peak MiB':<12}{peak:>10.0f}{peer_peak:>10.0f}{peer_peak / peak:>16.2f}")
