#!/usr/bin/env python3
"""A pass of ALS and top-100 lists for all users, next to `implicit`, over the same interactions in one run.

    python benches/beside_implicit.py [--data FOLDER] [--size USERS ITEMS INTERACTIONS] [--dim 64] [--repeats 3] [--bench PATH]

FOLDER holds train.txt and test.txt, one user a line: the user's number, then the numbers of the items, counted from 0. Without
it the bench writes random interactions with long tails. Every interaction counts 1. Both sides take 32-bit floats, three
steps of conjugate gradients, all cores; of both the first pass is left out and the median of the others told. `implicit` asks
for a BLAS of one thread, as its threads are its own. Needs Python with `implicit` and `threadpoolctl`; the bench is built
first unless PATH names its executable.
"""
import argparse, csv, json, os, pathlib, statistics, subprocess, sys, tempfile, time

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

ap = argparse.ArgumentParser()
ap.add_argument("--data")
ap.add_argument("--size", nargs=3, default=["50000", "20000", "1000000"], metavar=("USERS", "ITEMS", "INTERACTIONS"))
ap.add_argument("--dim", type=int, default=64)
ap.add_argument("--repeats", type=int, default=3)
ap.add_argument("--bench", help="executable of the bench `compute`")
ap.add_argument("--peer", nargs=3, help=argparse.SUPPRESS)  # folder, users, items: in a process of its own
a = ap.parse_args()


def peer(folder, users, items):
    """Prints `[[job, [seconds, CPU seconds] of each run], …]`."""
    import numpy as np, scipy.sparse, threadpoolctl
    from implicit.cpu.als import AlternatingLeastSquares

    rows, columns = [], []
    for line in open(pathlib.Path(folder) / "train.txt"):
        user, *taken = map(int, line.split() or [0])
        rows += [user] * len(taken)
        columns += taken
    cells = (np.ones(len(rows), np.float32), (rows, columns))
    matrix = scipy.sparse.csr_matrix(cells, shape=(users, items), dtype=np.float32)
    laps = []
    lap = lambda *_: laps.append((time.perf_counter(), time.process_time()))
    runs = lambda: [(e[0] - s[0], e[1] - s[1]) for s, e in zip(laps, laps[1:])]
    with threadpoolctl.threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(a.dim, alpha=10.0, iterations=a.repeats + 1, use_native=True, use_cg=True, random_state=7)
        model.fit(matrix, show_progress=False, callback=lap)
        passes, laps = runs(), []
        everyone = np.arange(users)
        lap()
        for _ in range(a.repeats):
            model.recommend(everyone, matrix, N=100, filter_already_liked_items=True)
            lap()
    print(json.dumps([["als pass", passes], ["top-100", runs()]]))


if a.peer:
    peer(a.peer[0], int(a.peer[1]), int(a.peer[2]))
    sys.exit()

bench = [a.bench] if a.bench else ["cargo", "bench", "--quiet", "--bench", "compute", "--"]
work = pathlib.Path(tempfile.mkdtemp(prefix="implicit-"))
data = a.data
if not data:
    data = work / "data"
    subprocess.run([*bench, *a.size, "--write", data], check=True)
table = work / "recost.csv"
size = ["1", "1", "1", str(a.dim), "cpu"]  # the data have their own
options = ["--jobs", "als,lists", "--repeats", str(a.repeats), "--data", str(data), "--csv", str(table)]
subprocess.run([*bench, *size, *options], check=True)
ours = {row["job"]: row for row in csv.DictReader(open(table))}
first = next(iter(ours.values()))
again = [sys.executable, __file__, "--dim", str(a.dim), "--repeats", str(a.repeats)]
done = subprocess.run([*again, "--peer", str(data), first["users"], first["items"]], check=True, stdout=subprocess.PIPE, text=True)
theirs = dict(json.loads(done.stdout.splitlines()[-1]))

print(f"\n{first['users']} users × {first['items']} items, {first['interactions']} interactions, {a.dim} dimensions")
print(f"{'':<10}{'recost s':>10}{'CPU s':>9}{'implicit s':>12}{'CPU s':>9}{'ratio':>8}{'of CPU':>8}")
for job, runs in theirs.items():
    wall, cpu = (statistics.median(run[at] for run in runs) for at in (0, 1))
    o, c = float(ours[job]["seconds"]), float(ours[job]["cpu_seconds"])
    print(f"{job:<10}{o:>10.3f}{c:>9.2f}{wall:>12.3f}{cpu:>9.2f}{wall / o:>8.2f}{cpu / max(c, 0.01):>8.2f}")
