#!/usr/bin/env python3
"""An oracle of cost attribution, written apart from the program: random nights, every digit compared.

    python3 tests/oracle/attribution.py target/release/recost [--nights 25] [--seed 1] [--only N]

Each night is a random bill (machines, pools, tags, commitments, provider splits, credits, tax, two currencies, negative
rows) with random telemetry, written as CSV. The program attributes it; this file works out the same from
docs/attribution.md with Python's whole numbers (units of 10^-18) and holds every allocation against it, on both bases.
"""
import argparse, csv, json, pathlib, random, subprocess, sys, tempfile
from collections import defaultdict
from datetime import datetime, timedelta, timezone

UNIT = 10**18
DAY0 = datetime(2026, 10, 1, tzinfo=timezone.utc)
STAGES = ["development", "training", "deployment", "operations", "upgrade"]
HOUR = 3600 * 10**9
MACHINES = ("idle", ("all",))  # what a row that follows machines leaves to their idle

# ---------------------------------------------------------------- a random night


def decimal(units):
    sign, units = "-" if units < 0 else "", abs(units)
    return f"{sign}{units // UNIT}.{units % UNIT:018d}"


def amount(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return 0
    if kind == 1:
        return rng.randrange(-50, 200)
    if kind == 2:
        return rng.randrange(-(10**6), 10**9) * 10**16
    return rng.randrange(-(10**17), 10 ** rng.randrange(17, 24))


def tags(rng):
    found = {}
    if rng.random() < 0.5:
        found["model"] = rng.choice(["A", "B", "C"])
        if rng.random() < 0.4:
            found["model_version"] = rng.choice(["1", "2"])
        if rng.random() < 0.5:
            found["stage"] = rng.choice(STAGES + ["inference", "no stage"])
    if rng.random() < 0.3:
        found["team"] = "x"
    return found


def night(rng):
    resources = ["gpu-1", "gpu-2", "cpu-1", "bucket", "queue", "other", None]
    bill, usage = [], []
    for _ in range(rng.randrange(1, 45)):
        start, length = DAY0 + timedelta(days=rng.randrange(3)), timedelta(days=1)
        if rng.random() < 0.2:
            start, length = start + timedelta(hours=rng.randrange(24)), timedelta(hours=1)
        category = rng.choice(["Usage"] * 5 + ["Purchase", "Tax", "Credit", "Credit", "Adjustment"])
        split = category == "Usage" and rng.random() < 0.1
        bill.append(
            {
                "start": start,
                "end": start + length,
                "currency": rng.choice(["USD", "USD", "EUR"]),
                "category": category,
                "invoice": rng.choice(["i1", "i2", None]),
                "issuer": rng.choice(["Northcloud", "Southcloud"]),
                "account": rng.choice(["a1", "a2", None]),
                "resource": rng.choice(resources),
                "service": rng.choice(["s1", "s2", None]),
                "service_category": rng.choice(["Compute", "Storage", "Networking", "Other"]),
                "status": "Unused" if rng.random() < 0.08 else None,
                "method": "m" if split else None,
                "split_tags": tags(rng) if split else {},
                "tags": tags(rng),
                "billed": amount(rng),
                "effective": amount(rng),
            }
        )
    for _ in range(rng.randrange(0, 60)):
        start = DAY0 + timedelta(hours=rng.randrange(72))
        resource = rng.choice(resources[:5])
        of = lambda names, top: rng.randrange(top) if resource in names and rng.random() < 0.8 else None
        usage.append(
            {
                "start": start,
                "end": start + timedelta(hours=1),
                "resource": resource,
                "model": rng.choice(["A", "B"]),
                "version": rng.choice(["1", None]),
                "stage": rng.choice(STAGES),
                "gpu_ns": of(["gpu-1", "gpu-2"], HOUR),
                "cpu_ns": of(["gpu-2", "cpu-1"], 4 * HOUR),
                "bytes": of(["bucket"], 10**15),
                "requests": of(["queue"], 1000),
                "reserved": rng.randrange(HOUR) if rng.random() < 0.3 else None,
                "capacity": 2 * HOUR if rng.random() < 0.7 else None,
            }
        )
    return bill, usage


# ---------------------------------------------------------------- the rules, again


def largest_remainder(total, weights):
    whole = sum(weights)
    size = abs(total)
    parts = [size * w // whole for w in weights]
    order = sorted(range(len(weights)), key=lambda i: (-(size * weights[i] % whole), i))
    for i in order[: size - sum(parts)]:
        parts[i] += 1
    return [p if total >= 0 else -p for p in parts]


def model_target(found, default="operations"):
    stage = {"inference": "deployment"}.get(found.get("stage"), found.get("stage"))
    return ("model", found["model"], found.get("model_version"), stage if stage in STAGES else default)


def key(target):
    """The order of splits: models by id, version and stage, then idle, then unallocated."""
    if target[0] == "model":
        return (0, target[1], target[2] is not None, target[2] or "", STAGES.index(target[3]))
    if target[0] == "idle":
        return (1, target == MACHINES, target[1] is not None) + (target[1] or ())
    return (2, target[1])


def category(row):
    if row["category"] == "Tax":
        return "other"
    return {"Compute": "compute", "Storage": "storage", "Networking": "network"}.get(row["service_category"], "other")


def machine(usage, field, resource, start, end):
    """Busy weight by target and idle, or None where the driver has no row of the resource in the period."""
    if not any(u["resource"] == resource and (u[field] or 0) > 0 for u in usage):
        return None
    intervals = defaultdict(list)
    for u in usage:
        if u["resource"] == resource and start <= u["start"] < end:
            intervals[(u["start"], u["end"])].append(u)
    if not intervals:
        return None
    busy, idle = defaultdict(int), 0
    for rows in intervals.values():
        used, kept = defaultdict(int), defaultdict(int)
        for u in rows:
            target = ("model", u["model"], u["version"], u["stage"])
            used[target] += u[field] or 0
            kept[target] += u["reserved"] or 0
        taken = {t: max(used[t], kept[t]) for t in used}
        for t, w in taken.items():
            busy[t] += w
        idle += max(0, max(u["capacity"] or 0 for u in rows) - sum(taken.values()))
    return {t: w for t, w in busy.items() if w > 0}, idle


def pool(usage, field, resource, start, end):
    if not any(u["resource"] == resource and (u[field] or 0) > 0 for u in usage):
        return None
    busy = defaultdict(int)
    for u in usage:
        if u["resource"] == resource and start <= u["start"] < end:
            busy[("model", u["model"], u["version"], u["stage"])] += u[field] or 0
    return {t: w for t, w in busy.items() if w > 0}


class Attribution:
    def __init__(self, bill, usage):
        self.usage = usage
        self.out = defaultdict(lambda: [0, 0])
        self.booked = []  # (row, target, effective) of all but tax
        self.pools = {}  # idle pool → (busy weights, {(day, category): [billed, effective]})
        held = []
        for number, row in enumerate(bill):
            row["number"] = number
            if self.route(row) == "held":
                held.append(row)
        self.held = held

    def route(self, row):
        start, end, resource = row["start"], row["end"], row["resource"]
        if row["status"] == "Unused":
            return self.split(row, {("idle", None): 1})
        if row["method"]:
            to = model_target(row["split_tags"]) if "model" in row["split_tags"] else ("unallocated", "provider_split_no_model")
            return self.split(row, {to: 1})
        if row["category"] == "Tax" or (row["category"] == "Credit" and "model" not in row["tags"]):
            return "held"
        if "model" in row["tags"]:
            return self.split(row, {model_target(row["tags"]): 1})
        for place, field in enumerate(["gpu_ns", "cpu_ns"]):
            found = resource and machine(self.usage, field, resource, start, end)
            if not found:
                continue
            busy, idle = found
            parts = dict(busy)
            if idle > 0:
                name = (resource, start, end, place, row["currency"]) if busy else None
                parts[("idle", name)] = idle
                if name:
                    self.pools.setdefault(name, (busy, defaultdict(lambda: [0, 0])))
            return self.split(row, parts)
        for field in ["bytes", "requests"]:
            busy = resource and pool(self.usage, field, resource, start, end)
            if busy is not None and busy is not False and resource:
                return self.split(row, busy)
        return self.split(row, {("unallocated", "no_rule"): 1})

    def split(self, row, parts):
        if not parts:
            parts = {("unallocated", "no_driver"): 1}
        targets, to_machines = sorted(parts, key=key), None
        weights = [parts[t] for t in targets]
        billed, effective = (largest_remainder(row[a], weights) for a in ("billed", "effective"))
        for target, b, e in zip(targets, billed, effective):
            self.note(("usage", row["id"]), target, category(row), row["start"].date(), b, e)
            if row["category"] != "Tax":
                self.booked.append((row, target, e))
            if target == MACHINES:
                to_machines = (b, e)
            elif target[0] == "idle" and target[1]:
                part = self.pools[target[1]][1][(row["start"].date(), category(row))]
                part[0] += b
                part[1] += e
        return to_machines

    def note(self, row, target, cat, day, billed, effective):
        shown = ("idle",) if target[0] == "idle" else target
        found = self.out[row + (shown, cat, str(day))]
        found[0] += billed
        found[1] += effective

    def base(self, match, credits):
        """What matching charges ended at: None without a row, else the targets with a positive amount, the idle of all
        machines as one of them, and the machines' pools with a positive amount."""
        sums, any_row = defaultdict(int), False
        for row, target, effective in self.booked:
            if (credits or row["category"] != "Credit") and match(row):
                any_row = True
                sums[target] += effective
        if not any_row:
            return None
        of_machines = lambda target: target[0] == "idle" and target[1]
        pools = {t: a for t, a in sums.items() if of_machines(t) and t != MACHINES and a > 0}
        idle = sum(a for t, a in sums.items() if of_machines(t))
        parts = {t: a for t, a in sums.items() if not of_machines(t) and a > 0}
        if idle > 0:
            together = MACHINES if pools else ("idle", None)
            parts[together] = parts.get(together, 0) + idle
        return parts, pools

    def follow(self, rows, ways, credits, wanted, missing):
        """Splits each row over the first of its ways that `wanted` takes; then the pools share what went to machines' idle."""
        followed = []
        for row in rows:
            found = ((way, self.base(lambda o: o["currency"] == row["currency"] and match(o), credits)) for way, match in ways(row))
            followed.append((row, next(((way, b) for way, b in found if wanted(b)), None)))
        shared = {}
        for row, found in followed:
            parts, pools = found[1] if found else ({}, {})
            to_machines = self.split(row, parts or {("unallocated", missing): 1})
            if to_machines:
                # What follows the same charges on the same day in the same category is shared out as one amount.
                group = (row["currency"], found[0], row["start"].date(), category(row))
                sums = shared.setdefault(group, (pools, [0, 0]))[1]
                sums[0] += to_machines[0]
                sums[1] += to_machines[1]
        order = lambda target: (target[1][0], target[1][1], target[1][2], target[1][3], target[1][4])
        for (_, _, day, cat), (pools, sums) in shared.items():
            names = sorted(pools, key=order)
            for at in (0, 1):
                for name, part in zip(names, largest_remainder(sums[at], [pools[n] for n in names])):
                    self.pools[name[1]][1][(day, cat)][at] += part

    def finish(self):
        self.held.sort(key=lambda row: row["id"])

        def credited(row):
            if row["resource"]:
                yield ("resource", row["resource"]), lambda o: o["resource"] == row["resource"]
            if row["service"]:
                same = lambda o: o["service"] == row["service"] and o["account"] == row["account"]
                yield ("service", row["account"], row["service"]), same
            if row["account"]:
                yield ("account", row["account"]), lambda o: o["account"] == row["account"]

        def taxed(row):
            if row["invoice"]:
                yield ("invoice", row["invoice"]), lambda o: o["invoice"] == row["invoice"]
            yield ("issuer", row["issuer"]), lambda o: o["issuer"] == row["issuer"]

        of = lambda name: [row for row in self.held if row["category"] == name]
        self.follow(of("Credit"), credited, False, lambda b: b and b[0], "credit_no_base")
        self.follow(of("Tax"), taxed, True, lambda b: b is not None, "tax_no_base")
        for name, (busy, parts) in self.pools.items():
            resource, start, end, place, currency = name
            iso = lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ")
            rule = ["default: machine by gpu_ns", "default: machine by cpu_ns"][place]
            row = ("allocation", f"idle/{rule}/{resource}/{iso(start)}/{iso(end)}/{currency}")
            targets = sorted(busy, key=key)
            weights = [busy[t] for t in targets]
            order = ["compute", "storage", "network", "licence", "labour", "operations", "other"]
            before, run = [[0] * len(targets)] * 2, [0, 0]
            for (day, cat), amounts in sorted(parts.items(), key=lambda p: (p[0][0], order.index(p[0][1]))):
                run = [run[0] + amounts[0], run[1] + amounts[1]]
                after = [largest_remainder(total, weights) for total in run]
                if amounts != [0, 0]:
                    self.note(row, ("idle", name), cat, day, -amounts[0], -amounts[1])
                    for i, target in enumerate(targets):
                        moved = [after[a][i] - before[a][i] for a in (0, 1)]
                        self.note(row, target, cat, day, *moved)
                before = after
        return {k: tuple(v) for k, v in self.out.items() if v != [0, 0]}


# ---------------------------------------------------------------- the program on the same night

HEAD = "ChargePeriodStart ChargePeriodEnd BillingCurrency ChargeCategory InvoiceId InvoiceIssuerName BillingAccountId ResourceId ServiceName ServiceCategory CommitmentDiscountStatus AllocatedMethodId AllocatedTags Tags BilledCost EffectiveCost BillingPeriodStart BillingPeriodEnd".split()
USAGE = "usage_start usage_end resource_id model_id model_version stage gpu_ns cpu_ns bytes requests reserved_ns capacity_ns".split()
PIPELINE = """name = "Oracle"
[run]
history_days = 5
[[sources]]
name = "bill"
kind = "charges"
path = "bill.csv"
dialect = "focus"
[[sources]]
name = "telemetry"
kind = "usage"
path = "usage.csv"
dialect = "recost"
required = false
[attribution]
known_models = ["A", "B", "C"]
[report]
after_run = false
"""


def write(path, head, rows):
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(head)
        out.writerows(["" if cell is None else cell for cell in row] for row in rows)


def program(recost, dir, bill, usage):
    iso = lambda t: t.strftime("%Y-%m-%dT%H:%M:%SZ")
    text = lambda found: json.dumps(found) if found else None
    write(dir / "bill.csv", HEAD, [
        [iso(r["start"]), iso(r["end"]), r["currency"], r["category"], r["invoice"], r["issuer"], r["account"], r["resource"],
         r["service"], r["service_category"], r["status"], r["method"], text(r["split_tags"]), text(r["tags"]),
         decimal(r["billed"]), decimal(r["effective"]), "2026-10-01", "2026-11-01"] for r in bill])
    write(dir / "usage.csv", USAGE, [
        [iso(u["start"]), iso(u["end"]), u["resource"], u["model"], u["version"], u["stage"], u["gpu_ns"], u["cpu_ns"],
         u["bytes"], u["requests"], u["reserved"], u["capacity"]] for u in usage])
    (dir / "pipeline.toml").write_text(PIPELINE)

    def run(*args):
        done = subprocess.run([recost, *args], cwd=dir, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(args)}: {done.stdout}{done.stderr}")
        return done.stdout

    run("run", "pipeline.toml", "--date", "2026-10-04", "--device", "cpu")
    ask = lambda sql: [json.loads(line) for line in run("sql", "pipeline.toml", sql, "--format", "json").splitlines()]
    ids = {row["row"]: row["row_id"] for row in ask('select "row", row_id from charges')}
    units = lambda text: int(text.replace(".", ""))
    found = defaultdict(lambda: [0, 0])
    for a in ask("select row_id, day, target, model_id, model_version, stage, reason, category, basis, billed, effective from allocations"):
        target = {
            "model": lambda: ("model", a["model_id"], a.get("model_version"), a["stage"]),
            "idle": lambda: ("idle",),
            "unallocated": lambda: ("unallocated", a["reason"]),
        }[a["target"]]()
        part = found[(a["basis"], a["row_id"], target, a["category"], a["day"][:10])]
        part[0] += units(a["billed"])
        part[1] += units(a["effective"])
    return ids, {k: tuple(v) for k, v in found.items() if v != [0, 0]}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("recost")
    ap.add_argument("--nights", type=int, default=25)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--only", type=int, help="only this night, left in the folder oracle-night")
    a = ap.parse_args()
    recost, rows = str(pathlib.Path(a.recost).resolve()), 0
    for n in range(a.nights) if a.only is None else [a.only]:
        rng = random.Random(f"{a.seed}/{n}")
        bill, usage = night(rng)
        with tempfile.TemporaryDirectory() as temporary:
            dir = pathlib.Path(temporary if a.only is None else "oracle-night")
            dir.mkdir(parents=True, exist_ok=True)
            ids, found = program(recost, dir, bill, usage)
        for number, row in enumerate(bill):
            row["id"] = ids[number + 1]
        wanted = Attribution(bill, usage).finish()
        differ = [k for k in sorted(set(found) | set(wanted), key=str) if found.get(k) != wanted.get(k)]
        if differ:
            for k in differ[:20]:
                print(k, "program", found.get(k), "oracle", wanted.get(k))
            sys.exit(f"night {n} of seed {a.seed}: {len(differ)} of {len(wanted)} allocations differ")
        rows += len(wanted)
    print(f"{a.nights} nights, {rows} allocations: all equal, to the last digit")


main()
