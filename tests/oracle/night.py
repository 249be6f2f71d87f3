"""A random shop: bills, ledgers, telemetry, a small clickstream, exchange rates, and the rules that send costs to models."""
import copy
from datetime import date, datetime, timedelta, timezone

from exact import STAGES, UNIT

DAY0 = datetime(2026, 10, 29, tzinfo=timezone.utc)  # bills have six days from here, of two billing periods
HOUR = 3600 * 10**9
RESOURCES = ["gpu-1", "gpu-2", "cpu-1", "bucket", "queue", "node", "other", None]


class Shop:
    """All that a night's run is given. Bills are by billing period, so that one can come again."""

    def __init__(self, rng):
        self.pools, self.rules, self.resources = rules(rng)
        names = [p["name"] for p in self.pools]
        self.usage = telemetry(rng, names)
        self.events, self.items = clickstream(rng)
        self.bills = {}
        for _ in range(rng.randrange(2, 45)):
            row = charge(rng, names)
            self.bills.setdefault(row["period"], []).append(row)
        for period in ("2026-10", "2026-11"):
            if not self.bills.get(period):
                row = charge(rng, names)
                self.bills[period] = [dict(row, period=period)]
        self.timesheets = [timesheet(rng) for _ in range(rng.randrange(4))]
        self.assets = [asset(rng, n) for n in range(rng.randrange(3))]
        self.rates = rates(rng)
        self.reporting = rng.choice([None, "EUR", "USD", "CHF"])
        self.last_touch_hours = rng.choice([0, 1, 6, 24, 240])
        self.life = {None: life(rng, True)}
        for model in "AB":
            if rng.random() < 0.4:
                self.life[model] = life(rng, False)
        self.steps = steps(rng, self.bills, names)


def amount(rng):
    kind = rng.randrange(6)
    if kind == 0:
        return 0
    if kind == 1:
        return rng.randrange(-50, 200)
    if kind == 2:
        return rng.randrange(-(10**6), 10**9) * 10**16
    return rng.randrange(-(10**17), 10 ** rng.randrange(17, 24))


def tags(rng, pools):
    found = {}
    if rng.random() < 0.45:
        found["model"] = rng.choice(["A", "B", "C"] + pools)
        if rng.random() < 0.4:
            found["model_version"] = rng.choice(["1", "2"])
        if rng.random() < 0.6:
            found["stage"] = rng.choice(STAGES + ["inference", "no stage"])
    if rng.random() < 0.3:
        found["team"] = rng.choice("xy")
    if rng.random() < 0.15:
        found["run"] = rng.choice(["r1", "r2", "unheard of"])
    return found


def charge(rng, pools):
    start, length = DAY0 + timedelta(days=rng.randrange(6)), timedelta(days=1)
    if rng.random() < 0.2:
        start, length = start + timedelta(hours=rng.randrange(24)), timedelta(hours=1)
    category = rng.choice(["Usage"] * 5 + ["Purchase", "Tax", "Credit", "Credit", "Adjustment"])
    split = category == "Usage" and rng.random() < 0.08
    # Some rows of October come on November's bill, as corrections do.
    period = f"{start:%Y-%m}" if rng.random() < 0.9 else "2026-11"
    return {
        "source": "bill",
        "period": period,
        "start": start,
        "end": start + length,
        "currency": rng.choice(["USD", "USD", "EUR"]),
        "category": category,
        "class": "Correction" if period != f"{start:%Y-%m}" else None,
        "invoice": rng.choice(["i1", "i2", None]),
        "issuer": rng.choice(["Northcloud", "Southcloud"]),
        "account": rng.choice(["a1", "a2", None]),
        "resource": rng.choice(RESOURCES),
        "service": rng.choice(["s1", "s2", "s3", "s4", None]),
        "service_category": rng.choice(["Compute", "Storage", "Networking", "Other"]),
        "status": "Unused" if rng.random() < 0.06 else None,
        "reservation": "Unused" if rng.random() < 0.04 else None,
        "method": "m" if split else None,
        "split_tags": tags(rng, pools) if split else {},
        "tags": tags(rng, pools),
        "kind": None,
        "billed": amount(rng),
        "effective": amount(rng),
    }


def steps(rng, bills, pools):
    """(billing period that is closed before, bills that come again before, night) of each run."""
    if rng.random() < 0.7:
        return [(None, {}, date(2026, 11, 4))]
    again = redelivered(rng, bills["2026-10"], pools)
    found = [(None, {}, date(2026, 11, 1)), ("2026-10", {"2026-10": again}, date(2026, 11, 4))]
    kind = rng.randrange(4)
    if kind == 1:  # what was booked in the open period is booked anew
        found.append((None, {"2026-10": redelivered(rng, again, pools)}, date(2026, 11, 4)))
    if kind > 1:  # what comes in December is more than what came in November
        again = redelivered(rng, again, pools)
        found.append((None, {"2026-10": again}, date(2026, 12, 1)))
    if kind > 2:  # and of both months more again
        later = {"2026-10": redelivered(rng, again, pools), "2026-11": redelivered(rng, bills["2026-11"], pools)}
        found.append(("2026-11", later, date(2026, 12, 2)))
    return found


def redelivered(rng, bill, pools):
    """The bill again: rows gone, others with other amounts or tags, new ones."""
    found = [copy.deepcopy(row) for row in bill if rng.random() < 0.85] or [dict(bill[0])]
    for row in found:
        if rng.random() < 0.3:
            row["effective"] = amount(rng)
            row["billed"] = amount(rng)
        if rng.random() < 0.15:
            row["tags"] = tags(rng, pools)
    for _ in range(rng.randrange(4)):
        row = charge(rng, pools)
        if row["period"] == bill[0]["period"]:
            found.append(row)
    return found


def telemetry(rng, pools):
    found = []
    for _ in range(rng.randrange(0, 70)):
        start = DAY0 + timedelta(hours=rng.randrange(6 * 24))
        resource = rng.choice(RESOURCES[:6])
        run = rng.choice(["r1", "r2", "r3"]) if resource == "node" or rng.random() < 0.15 else None
        end = start + timedelta(hours=1)
        if resource == "node":
            start += timedelta(seconds=rng.randrange(3600))
            end = start + timedelta(seconds=rng.randrange(1, rng.choice([1, 10, 100]) * 3600))
        of = lambda names, top: rng.randrange(top) if resource in names and rng.random() < 0.8 else None
        found.append(
            {
                "start": start,
                "end": end,
                "resource": resource,
                "model": rng.choice(["A", "B"] * 3 + pools),
                "version": rng.choice(["1", "2", None]),
                "stage": rng.choice(STAGES),
                "run": run,
                "gpu_ns": of(["gpu-1", "gpu-2"], HOUR),
                "cpu_ns": of(["gpu-2", "cpu-1"], 4 * HOUR),
                "bytes": of(["bucket"], 10**15),
                "requests": of(["queue"], 1000),
                "reserved": rng.randrange(HOUR) if rng.random() < 0.3 else None,
                "capacity": 2 * HOUR if rng.random() < 0.7 else None,
            }
        )
    return found


def rules(rng):
    """Pools in an order in which each feeds none before it, rules for what a few services cost, and a resource map."""
    pools, names = [], ["team", "Platform", "a data"][: rng.randrange(4)]
    for place, name in enumerate(names):
        later = names[place + 1 :]
        pool = {"name": name, "version": str(place), "target": "pool"}
        kind = rng.randrange(6)
        if kind == 0 and later:
            pool["pool"] = rng.choice(later)
        elif kind == 1:
            pool |= {"target": "model", "shares": shares(rng, ["A", "B", "C"] + later)}
        elif kind == 2:
            pool |= {"target": "model", "driver": "even", "models": ["A", "B", "C"] + later}
        elif kind == 3:
            pool |= {"target": "model", "model": "B", "stage": rng.choice(STAGES)}
        else:
            pool["driver"] = rng.choice(["bytes", "requests", "gpu_ns", "cpu_ns", "served"])
        if rng.random() < 0.3 and "pool" not in pool:
            pool["stage"] = rng.choice(STAGES)
        if rng.random() < 0.25:
            pool[rng.choice(["from", "to"])] = (DAY0 + timedelta(days=rng.randrange(1, 6))).date()
        pools.append(pool)
    found = []
    kinds = ["shares", "even", "driver", "idle", "unallocated", "model"] + ["pool"] * (3 if names else 0)
    for place, match in enumerate([{"service": "s3"}, {"service": "s4"}, {"tags.team": "x"}, {"resource": "other"}]):
        if rng.random() < 0.5:
            continue
        rule = {"name": f"own {place}", "version": str(place), "match": match, "target": "model"}
        kind = rng.choice(kinds)
        if kind == "shares":
            rule["shares"] = shares(rng, ["A", "B"] + names)
        elif kind == "even":
            rule |= {"driver": "even", "models": ["A", "C"] + names}
        elif kind == "driver":
            rule |= {"target": "pool", "driver": rng.choice(["bytes", "requests", "cpu_ns", "served"])}
            rule["known_resource"] = rng.random() < 0.3
        elif kind == "pool":
            rule |= {"target": "pool", "pool": rng.choice(names)}
        elif kind == "model":
            rule |= {"model": rng.choice(["A", "B"] + names), "stage": rng.choice(STAGES)}
        else:
            rule["target"] = kind
        if rng.random() < 0.3:
            rule["category"] = rng.choice(["licence", "operations"])
        if rng.random() < 0.2:
            rule["from"] = (DAY0 + timedelta(days=rng.randrange(1, 5))).date()
        found.append(rule)
    mapped = []
    if rng.random() < 0.5:
        entry = {"resource_id": rng.choice(["other", "node", "cpu-1"]), "model": rng.choice(["A", "C"] + names)}
        if rng.random() < 0.5:
            entry |= {"model_version": "2", "stage": rng.choice(STAGES)}
        mapped.append(entry)
    return pools, found, mapped


def shares(rng, models):
    """Millionths of a per cent, 100 % in all."""
    cuts = sorted(rng.randrange(10**8 + 1) for _ in models[1:])
    found = dict(zip(models, (b - a for a, b in zip([0] + cuts, cuts + [10**8]))))
    return {m: s for m, s in found.items() if s}


def timesheet(rng):
    row = {"day": (DAY0 + timedelta(days=rng.randrange(6))).date(), "currency": rng.choice(["USD", "EUR"])}
    row |= {"hours": None, "minutes": None, "rate": None, "cost": None}
    kind = rng.randrange(3)
    if kind == 0:
        row |= {"hours": rng.randrange(1, 10**6), "rate": rng.randrange(1, 10**6)}  # both with four places
    elif kind == 1:
        row |= {"minutes": rng.randrange(1, 600), "rate": rng.randrange(1, 10**6)}
    else:
        row["cost"] = rng.randrange(1, 10**22)
    row |= {"team": rng.choice(["queue", "bucket", "people", None]), "model": rng.choice(["A", "B", None])}
    return row | {"version": rng.choice(["1", None]), "stage": rng.choice(STAGES + [None])}


def asset(rng, number):
    cost = rng.randrange(1, 10**8)
    in_service = date(2026, 9, 1) + timedelta(days=rng.randrange(62))
    disposed = in_service + timedelta(days=rng.randrange(70)) if rng.random() < 0.3 else None
    return {
        "id": f"asset-{number}",
        "cost": cost * UNIT // 100,
        "residual": rng.randrange(cost + 1) * UNIT // 100,
        "in_service": in_service,
        "months": rng.randrange(1, 40),
        "disposed": disposed,
        "currency": rng.choice(["USD", "EUR"]),
        "resource": rng.choice([None, "gpu-1", "node"]),
        "model": rng.choice([None, None, "A"]),
        "version": rng.choice([None, "1"]),
        "stage": rng.choice(STAGES + [None]),
    }


def rates(rng):
    found = []
    for pair in [("USD", "EUR"), ("EUR", "USD"), ("USD", "CHF"), ("EUR", "CHF")]:
        for day in range(-121, 36):
            if day % 7 == 0 or rng.random() < 0.3:
                start = (DAY0 + timedelta(days=day)).date()
                found.append({"id": f"{pair[0]}{pair[1]}{start}", "from": pair[0], "to": pair[1], "day": start})
                found[-1]["rate"] = rng.randrange(1, 2 * UNIT)
    return found


def life(rng, general):
    found = {rng.choice(["days", "recommendations"]): rng.randrange(1, 12)}
    if general or rng.random() < 0.5:
        found["superseded_after_days"] = rng.choice([1, 2, 3, 30])
    if rng.random() < 0.4:
        found["without_version"] = rng.choice(["next_version", "at_once"])
    if not general and rng.random() < 0.5:
        found["retired"] = {"1": (DAY0 + timedelta(days=rng.randrange(8))).date()}
    return found


def clickstream(rng):
    events, items = [], []
    for n in range(rng.randrange(2, 8)):
        cost = rng.randrange(10**6) if rng.random() < 0.7 else None
        items.append({"id": f"item-{n}", "cost": cost, "currency": rng.choice(["USD", "EUR"])})
    some = lambda: rng.choice(items)["id"]
    moment = lambda: DAY0 + timedelta(seconds=rng.randrange(7 * 86400))
    event = lambda **of: events.append({"id": f"e{len(events)}", "request": None, "model": None, "version": None, "surface": None,
                                        "rank": None, "ns": None, "price": None, "quantity": None, "currency": None} | of)
    requests = []
    versions = rng.choice([["1"], ["1", "2"], ["1", "2", None], [None]])
    for n in range(rng.randrange(0, 25)):
        when, user = moment(), rng.choice(["u1", "u2", "u3"])
        shown = {"request": f"q{n}", "model": rng.choice(["A", "A", "B", None]), "version": rng.choice(versions)}
        shown["surface"] = rng.choice(["home", "cart", None])
        measured = rng.random() < 0.6
        requests.append((shown["request"], user, when))
        for rank in range(1, rng.randrange(2, 6)):
            ns = rng.randrange(0, 10**6) if measured else None
            item = some()
            place = rank if rng.random() < 0.95 else None
            if rng.random() < 0.05:  # another model fills up the list
                shown = shown | {"model": "B"}
            event(type="impression", time=when, user=user, item=item, rank=place, ns=ns, **shown)
            if rng.random() < 0.15:
                later = when + timedelta(seconds=rng.choice([0, rng.randrange(1, 60), rng.randrange(1, 86400)]))
                again = {"rank": rng.choice([rank, rank, rank + 1, 1]), "ns": rng.choice([ns, ns, 1])}
                if rng.random() < 0.3:  # by another version, or elsewhere
                    again |= {"version": rng.choice(versions), "surface": rng.choice(["home", "cart", None])}
                event(type="impression", time=later, user=user, item=item, **shown | again)
    for _ in range(rng.randrange(0, 40)):
        named, user, when = rng.choice(requests) if requests and rng.random() < 0.8 else (None, "u1", moment())
        request = rng.choice([named, named, None, "unheard of"])
        when += timedelta(seconds=rng.choice([rng.randrange(1, 3600), rng.randrange(1, 5 * 86400)]))
        kind = rng.choice(["click", "purchase", "view", "cart"])
        price = rng.randrange(10**6) if rng.random() < 0.9 else None
        sold = {"price": price, "quantity": rng.randrange(1, 4), "currency": rng.choice(["USD", "EUR"])} if kind == "purchase" else {}
        event(type=kind, time=when, user=user, item=some(), request=request, **sold)
    return events, items
