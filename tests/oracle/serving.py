"""What was shown, what it cost, and what it brought: served_days, recommendation_costs, outcomes, unit_costs."""
from collections import defaultdict
from datetime import date, timedelta

from exact import HISTORY_DAYS, MAKING, UNIT, largest_remainder, per


def day_of(event):
    return event["time"].date()


def absent_first(version):
    return (version is not None, version or "")


def known_by(events, night):
    """Events after the night are left out."""
    return [e for e in events if day_of(e) <= night]


def recommendations(shop, night):
    """Each item shown by a model in a response on a day, once: (day, model) → showings in the order of their split."""
    found = {}
    absent_last = lambda text: (text is None, text or "")
    order = lambda e: (e["request"], e["item"], e["time"], e["rank"] or 0, *absent_last(e["version"]), *absent_last(e["surface"]), e["ns"] is None, e["ns"] or 0)
    for e in sorted((e for e in known_by(shop.events, night) if e["type"] == "impression" and e["model"] and e["request"]), key=order):
        found.setdefault((day_of(e), e["model"]), {}).setdefault((e["request"], e["item"]), e)
    return {key: list(shown.values()) for key, shown in found.items()}


def served_days(shown):
    found = defaultdict(lambda: [0, set()])
    for (day, model), rows in shown.items():
        for e in rows:
            line = found[str(day), model, e["version"], e["surface"]]
            line[0] += 1
            line[1].add(e["request"])
    return {k: (served, len(requests)) for k, (served, requests) in found.items()}


def served_by_version(shown):
    found = defaultdict(lambda: defaultdict(int))
    for (day, model), rows in shown.items():
        for e in rows:
            found[model, e["version"]][day] += 1
    return found


def model_days(allocations, ledger):
    """run, overhead (tax and idle) and making cost by (day, model, currency) and version."""
    found = defaultdict(lambda: defaultdict(lambda: [0, 0, 0]))
    for by_key in allocations.values():
        for (basis, _, day, currency, _, target, _, charge_category, *_), (_, effective) in by_key.items():
            if target[0] == "model" and target[3] not in MAKING:
                kind = int(basis == "allocation" or charge_category == "Tax")
                found[day, target[1], currency][target[2]][kind] += effective
    for (model, version, currency, day), row in ledger.items():
        if row[3]:
            found[day, model, currency][version][2] += row[3]
    return found


def recommendation_costs(shown, days, night):
    """(day, model, currency, request, item) → (showing, run, making, full)."""
    start = str(night - timedelta(days=HISTORY_DAYS - 1))
    found, any_day = {}, {(model, currency) for day, model, currency in days if day >= start}
    with_nothing = dict(days)
    for day, model in shown:
        # A model that cost nothing on the day: a row of 0 in its currencies, else in those of all models, else in none.
        mine = {c for m, c in any_day if m == model} or {c for _, c in any_day} or {"XXX"}
        for currency in mine:
            with_nothing.setdefault((str(day), model, currency), {})
    for (day, model, currency), versions in with_nothing.items():
        rows = shown.get((date.fromisoformat(day), model), [])
        costs = {id(e): [0, 0, 0] for e in rows}
        of_version = {v: [e for e in rows if e["version"] == v] for v in versions}
        together = [0, 0, 0]
        for version, amounts in versions.items():
            if version is None or not of_version[version]:
                together = [a + b for a, b in zip(together, amounts)]
            else:
                divide(of_version[version], amounts, costs)
        divide(rows, together, costs)
        for e in rows:
            run, overhead, making = costs[id(e)]
            found[day, model, currency, e["request"], e["item"]] = (e, run, making, run + overhead + making)
    return found


def divide(rows, amounts, costs):
    if not rows:
        return
    measured = all(e["ns"] for e in rows)
    for kind, amount in enumerate(amounts):
        for e, part in zip(rows, largest_remainder(amount, [e["ns"] if measured else 1 for e in rows])):
            costs[id(e)][kind] += part


def outcomes(shop, night, recommended):
    """Clicks and purchases, each with the recommendation that it is credited to."""
    events = known_by(shop.events, night)
    first = {(day, model, e["request"], e["item"]): e for (day, model), rows in recommended.items() for e in rows}
    shown = [e for e in events if e["type"] == "impression" and e["request"]]
    requests, items, found = {e["request"] for e in shown}, {i["id"]: i for i in shop.items}, {}
    for o in events:
        if o["type"] not in ("click", "purchase"):
            continue
        if o["request"] in requests:
            by, fit = "request", [e for e in shown if e["model"] and e["request"] == o["request"] and e["item"] == o["item"]]
        else:
            window = timedelta(hours=shop.last_touch_hours)
            touched = lambda e: e["user"] == o["user"] and e["item"] == o["item"] and o["time"] - window <= e["time"] <= o["time"]
            by, fit = "last_touch", [e for e in shown if e["model"] and shop.last_touch_hours and touched(e)]
        if fit:
            # The last showing before it, else the first after it.
            away = lambda e: (e["time"] > o["time"], abs(e["time"] - o["time"]), e["rank"] or 0)
            e = min(fit, key=lambda e: (*away(e), e["model"], *absent_first(e["version"]), *absent_first(e["surface"]), e["request"]))
            # What was shown again is the same recommendation.
            e = first[day_of(e), e["model"], e["request"], e["item"]]
            found[o["id"]] = (o, e, by, *brought(o, items.get(o["item"])))
    return found


def brought(o, item):
    """Revenue, margin, and the revenue that the margin is of, of a purchase whose price is known."""
    if o["type"] != "purchase" or o["price"] is None:
        return None, None, None
    places = UNIT // 10**4
    revenue = o["price"] * o["quantity"] * places
    if item is None or item["cost"] is None or item["currency"] != o["currency"]:
        return revenue, None, None
    return revenue, (o["price"] - item["cost"]) * o["quantity"] * places, revenue


def unit_costs(days, rows, served, credited):
    sums = defaultdict(lambda: [0, 0, 0, 0])
    for (day, model, currency, *_), (e, run, making, full) in rows.items():
        line = sums[day, model, e["version"], e["surface"], currency]
        for at, amount in enumerate((1, run, making, full)):
            line[at] += amount
    counts, money = defaultdict(lambda: defaultdict(list)), defaultdict(list)
    for o, e, _, *amounts in credited.values():
        line = (str(day_of(e)), e["model"], e["version"], e["surface"])
        counts[line][o["type"]].append((e["request"], e["item"]))
        if o["type"] == "purchase":
            money[(*line, o["currency"])].append(amounts)
    found = {}
    for key, (n, run, making, full) in sums.items():
        clicked, bought = counts[key[:4]]["click"], counts[key[:4]]["purchase"]
        requests = lambda shown: len({request for request, _ in shown})
        brought = [sum_known(column) for column in zip(*money[key])] if key in money else [None] * 3
        count = (n, served[key[:4]][1], len(set(clicked)), len(bought), len(set(bought)), requests(clicked), requests(bought))
        found[key] = line_of(count, brought, run, making, full)
    for (day, model, currency), versions in days.items():
        if not any(k[:2] == (day, model) and k[4] == currency for k in sums):
            for version, (run, overhead, making) in versions.items():
                found[day, model, version, None, currency] = line_of((0,) * 7, [None] * 3, run, making, run + overhead + making)
    return {k: v for k, v in found.items() if any(v)}


def sum_known(column):
    known = [a for a in column if a is not None]
    return sum(known) if known else None


def line_of(count, brought, run, making, full):
    served, requests, clicks, purchases, conversions, *_ = count
    ratios = [per(cost, n, of) for cost in (run, full) for n, of in ((1, served), (1000, served), (1, requests), (1, clicks), (1, conversions))]
    returns = [per(0 if not purchases else amount, UNIT, full) for amount in brought[:2]]
    return (*count, *brought, run, full - run - making, making, full, *ratios, *returns)
