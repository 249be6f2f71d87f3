"""version_ledger: what a version cost to make, over its service life."""
from collections import defaultdict
from datetime import date, timedelta

import costs
from exact import MAKING, largest_remainder


def policy(life, model):
    """Length and unit of the life, days to supersession, what becomes of cost without a version, and dates of retirement."""
    own, general = life.get(model, {}), life[None]
    length = next(((k, keys[k]) for keys in (own, general) for k in ("recommendations", "days") if k in keys), ("days", 30))
    after = own.get("superseded_after_days", general.get("superseded_after_days", 30))
    without = own.get("without_version", general.get("without_version", "next_version"))
    return length, after, without, own.get("retired", {})


def text(life, model):
    (unit, length), after, without, _ = policy(life, model)
    return f"{unit}={length} superseded_after_days={after} without_version={without}"


def cost_to_make(by_period, restatements):
    """Effective cost of making on the allocation basis, by (model, currency), version and day."""
    found = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    for lines in by_period.values():
        for (day, currency, target, _), amounts in lines.items():
            if target[0] == "model" and target[3] in MAKING:
                found[target[1], currency][target[2]][date.fromisoformat(day)] += amounts[3]
    for booking, booked in restatements.items():
        for (_, (currency, target, _)), amounts in booked.items():
            if target[0] == "model" and target[3] in MAKING:
                found[target[1], currency][target[2]][date.fromisoformat(booking + "-01")] += amounts[3]
    return found


def version_ledger(shop, night, by_period, restatements, served):
    """`served` is what each (model, version) showed by day."""
    found = {}
    for (model, currency), incurred in cost_to_make(by_period, restatements).items():
        shown = {v: days for (m, v), days in served.items() if m == model}
        for (version, day), row in roll_forward(policy(shop.life, model), incurred, shown, night).items():
            found[model, version, currency, str(day)] = (*row, policy(shop.life, model)[0][0], text(shop.life, model))
    return found


class Version:
    def __init__(self, length):
        self.balance, self.used, self.length = 0, 0, length

    @property
    def left(self):
        return max(0, self.length - self.used)


def superseded(after, version, shown):
    """Spans in which a version is retired: not shown for so many days, while another version was, until it is again."""
    mine = sorted(shown.get(version, {}))
    others = {day for v, days in shown.items() if v not in (version, None) for day in days}
    for last, again in zip(mine, mine[1:] + [None]):
        since = [day for day in others if day > last]
        if since:
            day = max(last + timedelta(days=after), min(since))
            if again is None or day < again:
                yield day, again


def roll_forward(policy, incurred, shown, night):
    (unit, length), after, without, dated = policy
    versions = {v: Version(length) for v in {*incurred, *shown}}
    first = {v: min(days) for v, days in shown.items()}
    retired = {}
    for v in versions:
        spans = list(superseded(after, v, shown)) if v is not None else []
        if v in dated:
            spans = [(dated[v], None)] + [s for s in spans if s[0] < dated[v]]
        retired[v] = spans
    retired_on = lambda v, day: any(a <= day and (b is None or day < b) for a, b in retired[v])
    days = {d for of in incurred.values() for d in of} | {d for of in shown.values() for d in of} | {a for s in retired.values() for a, _ in s}
    rows = {}
    for day in sorted(d for d in days if d <= night):
        new = {v: incurred.get(v, {}).get(day, 0) for v in versions}
        moved = dict.fromkeys(versions, 0)
        starting = sorted(v for v in versions if v is not None and first.get(v) == day)
        if without == "next_version" and None in versions and starting:
            waiting = versions[None].balance + new[None]
            for v, part in zip(starting, largest_remainder(waiting, [shown[v][day] for v in starting])):
                moved[v] = part
            moved[None] = -waiting
        for v, version in versions.items():
            opening, amount = version.balance, version.balance + new[v] + moved[v]
            served = shown.get(v, {}).get(day, 0)
            used = served if unit == "recommendations" else int(served > 0)
            before = version.left
            used = min(used, before)
            recognised = gone = 0
            if v is None and without == "at_once":
                recognised = amount
            elif retired_on(v, day):
                gone = amount
            elif v in first and first[v] <= day:
                if used == before:
                    recognised = amount
                elif used:
                    recognised = largest_remainder(amount, [used, before - used])[0]
            version.used += used
            version.balance = amount - recognised - gone
            if any((new[v], moved[v], recognised, gone)):
                rows[v, day] = (opening, new[v], moved[v], recognised, gone, version.balance, used, before, version.left)
    return rows
