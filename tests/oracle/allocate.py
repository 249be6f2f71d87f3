"""Allocations of one billing period: every charge split, tax and credits after what they follow, idle moved on."""
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction

from exact import CATEGORIES, MACHINES, largest_remainder, target_key
from routing import DEFAULT, Drivers, by_rule, covers, route

PLACES = {rule: place for place, (rule, _) in enumerate(DEFAULT)}


def category(row):
    if row["kind"]:
        return {"labour": "labour", "hardware": "compute"}[row["kind"]]
    if row["category"] == "Tax":
        return "other"
    return {"Compute": "compute", "Storage": "storage", "Networking": "network"}.get(row["service_category"], "other")


def iso(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Line:
    """What the parts of an amount have in common: whose it is, when, and by which rule."""

    basis: str
    id: object
    day: object
    start: object
    end: object
    currency: str
    issuer: str
    category: str
    charge_category: str
    rule: str


class Attribution:
    def __init__(self, shop, rows):
        self.shop = shop
        last = max((r["end"] - timedelta(seconds=1)).date() for r in rows)
        self.drivers = Drivers(shop, min(r["start"].date() for r in rows), last)
        self.splits = {}
        for pool in shop.pools:
            self.splits.setdefault(pool["name"], []).append(pool)
        self.closing = list(self.splits)
        self.out = defaultdict(lambda: [0, 0])
        self.booked = []  # (row, target, effective) of all but tax
        self.idle = {}  # idle pool → (busy weights, {(day, category, issuer): [billed, effective]})
        self.held = {"tax": [], "credit": []}
        for row in rows:
            self.take(row)
        self.follow_all()
        self.move_idle()

    def take(self, row):
        rule, weights, idle = route(self.drivers, self.shop, row)
        stated = next((r.get("category") for r in self.shop.rules if r["name"] == rule), None)
        start = row["start"]
        line = Line("usage", row["id"], start.date(), start, row["end"], row["currency"], row["issuer"], stated or category(row), row["category"], rule)
        if weights in ("tax", "credit"):
            return self.held[weights].append((row, line))
        parts = dict(weights) or {("unallocated", "no_driver"): 1}
        if idle:
            name = (row["resource"], start, row["end"], PLACES[rule], row["currency"]) if weights else None
            parts = dict(weights) | {("idle", name): idle}
            if name:
                self.idle.setdefault(name, (weights, defaultdict(lambda: [0, 0])))
        self.split(row, line, parts)

    def split(self, row, line, parts):
        """Splits a charge; what went to the idle of several machines as one comes back."""
        to_machines = None
        for target, billed, effective in self.ends(line, parts, (row["billed"], row["effective"])):
            if row["category"] != "Tax":
                self.booked.append((row, target, effective))
            if target == MACHINES:
                to_machines = (billed, effective)
            elif target[0] == "idle" and target[1]:
                part = self.idle[target[1]][1][line.day, line.category, line.issuer]
                part[0] += billed
                part[1] += effective
        return to_machines

    def ends(self, line, parts, amounts, via=()):
        """Where the parts of an amount end, through all cost pools; each is noted."""
        targets = sorted(parts, key=target_key)
        weights = [parts[t] for t in targets]
        for target, weight, *split in zip(targets, weights, *(largest_remainder(a, weights) for a in amounts)):
            yield from self.end(line, target, split, via, Fraction(weight, sum(weights)))

    def end(self, line, target, amounts, via, weight):
        if target[0] == "model" and target[1] in self.splits:
            version, parts = self.pool(target[1], line)
            yield from self.ends(line, parts, amounts, via + ((target[1], version, weight),))
        else:
            self.note(line, target, amounts, via, weight)
            yield (target, *amounts)

    def pool(self, name, line):
        """The version and weights of a pool's split on the day; nothing flows back to a pool that is closed."""
        entry = next((p for p in self.splits[name] if covers(p, line.start.date())), None)
        if entry is None:
            return "", {("unallocated", "no_driver"): 1}
        weights = by_rule(self.drivers, entry, None, line.start, line.end)
        closed = self.closing[: self.closing.index(name) + 1]
        weights = {t: w for t, w in weights.items() if w > 0 and t[1] not in closed}
        return entry["version"], weights or {("unallocated", "no_driver"): 1}

    def note(self, line, target, amounts, via, weight):
        shown = ("idle",) if target[0] == "idle" else target
        key = (line.basis, line.id, str(line.day), line.currency, line.issuer, shown, line.category, line.charge_category)
        found = self.out[key + (line.rule, via, weight)]
        found[0] += amounts[0]
        found[1] += amounts[1]

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
        for row, line in rows:
            found = ((way, self.base(lambda o: o["currency"] == row["currency"] and match(o), credits)) for way, match in ways(row))
            followed.append((row, line, next(((way, b) for way, b in found if wanted(b)), None)))
        shared = {}
        for row, line, found in followed:
            parts, pools = found[1] if found else ({}, {})
            to_machines = self.split(row, line, parts or {("unallocated", missing): 1})
            if to_machines:
                # What follows the same charges on a day, in a category, on bills of an issuer, is shared out as one amount.
                group = (row["currency"], found[0], line.day, line.category, line.issuer)
                sums = shared.setdefault(group, (pools, [0, 0]))[1]
                sums[0] += to_machines[0]
                sums[1] += to_machines[1]
        order = lambda target: target[1]
        for (_, _, *part_key), (pools, sums) in shared.items():
            names = sorted(pools, key=order)
            for at in (0, 1):
                for name, part in zip(names, largest_remainder(sums[at], [pools[n] for n in names])):
                    self.idle[name[1]][1][tuple(part_key)][at] += part

    def follow_all(self):
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

        self.follow(self.held["credit"], credited, False, lambda b: b and b[0], "credit_no_base")
        self.follow(self.held["tax"], taxed, True, lambda b: b is not None, "tax_no_base")

    def move_idle(self):
        for name, (busy, parts) in self.idle.items():
            resource, start, end, place, currency = name
            rule = DEFAULT[place][0]
            id = f"idle/{rule}/{resource}/{iso(start)}/{iso(end)}/{currency}"
            targets = sorted(busy, key=target_key)
            weights = [busy[t] for t in targets]
            before, run = [[0] * len(targets)] * 2, [0, 0]
            # The parts of a pool are split one after another, so that what a target got so far is always its exact share.
            for (day, cat, issuer), amounts in sorted(parts.items(), key=lambda p: (p[0][0], CATEGORIES.index(p[0][1]), p[0][2])):
                run = [run[0] + amounts[0], run[1] + amounts[1]]
                after = [largest_remainder(total, weights) for total in run]
                line = Line("allocation", id, day, start, end, currency, issuer, cat, "Usage", rule)
                if amounts != [0, 0]:
                    self.note(line, ("idle",), [-amounts[0], -amounts[1]], (), Fraction(1))
                    for i, target in enumerate(targets):
                        share = [after[at][i] - before[at][i] for at in (0, 1)]
                        list(self.end(line, target, share, (), Fraction(weights[i], sum(weights))))
                before = after

    def allocations(self):
        return {k: tuple(v) for k, v in self.out.items()}
