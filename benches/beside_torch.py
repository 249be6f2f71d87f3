#!/usr/bin/env python3
"""Lists of 100 on a GPU by PyTorch's `matmul` and `topk`, in 32 bits, and whether recost's are the same.

    cargo bench --bench compute -- 0 0 0 64 gpu --data FOLDER --scored 8192 --lists LISTS
    python benches/beside_torch.py --same LISTS --data FOLDER
    python benches/beside_torch.py --time USERS ITEMS INTERACTIONS SCORED

Users go in blocks of 2,048; what they had is masked. The best of three runs after a first counts, its copy of the lists to
the host included. Needs Python with `torch` and a CUDA device.
"""
import argparse, pathlib, time
import numpy as np, torch

torch.backends.cuda.matmul.allow_tf32 = False
BLOCK, K = 2048, 100

ap = argparse.ArgumentParser()
ap.add_argument("--same", type=pathlib.Path)
ap.add_argument("--data", type=pathlib.Path)
ap.add_argument("--time", nargs=4, type=int, metavar=("USERS", "ITEMS", "INTERACTIONS", "SCORED"))
ap.add_argument("--dim", type=int, default=64)
a = ap.parse_args()


def masked(scores, rows, columns):
    scores[torch.from_numpy(rows), torch.from_numpy(columns)] = -float("inf")
    return scores


def taken(path, users):
    """Rows and columns of what the first users had."""
    pairs = []
    for line in open(path / "train.txt"):
        user, *items = map(int, line.split() or [0])
        if user < users:
            pairs += [(user, item) for item in items]
    return np.array(pairs, np.int64).T


if a.same:
    read = lambda name, kind: np.fromfile(a.same / name, kind)
    users = torch.from_numpy(read("users.f32", np.float32).reshape(-1, a.dim)).cuda()
    items = torch.from_numpy(read("items.f32", np.float32).reshape(-1, a.dim)).cuda()
    lists = read("lists.u32", np.uint32).reshape(len(users), K).astype(np.int64)
    scores = read("scores.f32", np.float32).reshape(len(users), K)
    had = taken(a.data, len(users))
    for name, u, v in [("64", users.double(), items.double()), ("32", users, items)]:
        best, ids = (t.cpu().numpy() for t in torch.topk(masked(u @ v.T, *had), K))
        shared = sum(len(set(x) & set(y)) for x, y in zip(lists, ids))
        print(f"in {name} bits: {shared} of {lists.size} items shared, {np.mean(lists == ids):.6f} in the same place, "
              f"largest difference of scores {np.abs(scores - best).max():.1e}")
if a.time:
    users, items, interactions, scored = a.time
    random = np.random.default_rng(1)
    rows = np.sort(random.integers(users, size=interactions))
    rows = rows[rows < scored]
    columns = (random.random(len(rows)) ** 3 * items).astype(np.int64)
    u = torch.rand(scored, a.dim, device="cuda") - 0.5
    v = torch.rand(items, a.dim, device="cuda") - 0.5
    best = float("inf")
    for run in range(4):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for first in range(0, scored, BLOCK):
            here = slice(*np.searchsorted(rows, [first, first + BLOCK]))
            block = u[first:first + BLOCK] @ v.T
            [t.cpu() for t in torch.topk(masked(block, rows[here] - first, columns[here]), K)]
        if run:
            best = min(best, time.perf_counter() - start)
    print(f"{scored} users × {items} items: {best:.4f} s, {2 * scored * items * a.dim / best / 1e9:.0f} GFLOP/s")
