"""The program's tables in the shape in which the oracle makes them: keys and whole numbers."""
import json
from collections import defaultdict
from fractions import Fraction

KEYS = "target model_id model_version stage"
FOUR = "usage_billed usage_effective allocation_billed allocation_effective"
ORIGINAL = " ".join("original_" + column for column in FOUR.split())
PARTS = f"billing_period basis row_id day currency issuer {KEYS} reason category charge_category rule via weight weight_total billed effective"
COLUMNS = {
    "charges": "row_id source billing_period row part",
    "late_charges": "row_id source billing_period row part",
    "allocations": PARTS,
    "late_allocations": PARTS,
    "model_costs": f"billing_period day currency {KEYS} category {FOUR}",
    "reconciliation": "billing_period currency issuer basis line billed effective",
    "converted_costs": f"billing_period line day currency restated_period {KEYS} category reporting_currency rate_id rate {ORIGINAL} {FOUR}",
    "snapshots": f"billing_period currency {KEYS} category {FOUR}",
    "served_days": "ds model_id model_version surface served requests",
    "version_ledger": "model_id model_version currency day opening incurred transferred recognised written_off closing used life_before life_after life_unit policy",
    "recommendation_costs": "ds model_id currency request_id item_id model_version surface rank run_cost making_cost full_cost",
    "outcomes": "event_id request_id item_id ds model_version surface credited_by revenue margin margin_revenue",
    "unit_costs": "ds model_id model_version surface currency served requests clicks purchases conversions clicked_requests converted_requests revenue margin margin_revenue run_cost overhead_cost making_cost full_cost run_cost_per_recommendation run_cost_per_1000 run_cost_per_request run_cost_per_click run_cost_per_conversion full_cost_per_recommendation full_cost_per_1000 full_cost_per_request full_cost_per_click full_cost_per_conversion return_on_cost margin_on_cost",
    "restatements": f"billing_period restated_period currency {KEYS} category {FOUR}",
}


def units(text):
    return None if text is None else int(text.replace(".", ""))


def target(kind, model, version, stage, reason=None):
    return {"model": ("model", model, version, stage), "idle": ("idle",), "unallocated": ("unallocated", reason)}[kind]


def steps(via):
    ratio = lambda s: Fraction(int(s["weight"]), int(s["weight_total"]))
    return tuple((s["pool"], s["version"], ratio(s)) for s in json.loads(via)) if via else ()


def allocations(rows, ids):
    found = defaultdict(lambda: [0, 0])
    for period, basis, row, day, currency, issuer, kind, model, version, stage, reason, cat, charge_cat, rule, via, w, total, b, e in rows:
        to = target(kind, model, version, stage, reason)
        weight = Fraction(int(w), int(total))
        part = found[period, basis, ids.get(row, row), day[:10], currency, issuer, to, cat, charge_cat, rule, steps(via), weight]
        part[0] += units(b)
        part[1] += units(e)
    return {k: tuple(v) for k, v in found.items() if v != [0, 0]}


def sums(rows, key):
    """Rows that are equal but for their amounts, added up; those of nothing left aside. `key` gives key and amounts."""
    found = {}
    for row in rows:
        at, amounts = key(*row)
        amounts = [units(a) for a in amounts]
        found[at] = tuple(a + b for a, b in zip(found[at], amounts)) if at in found else tuple(amounts)
    return {k: v for k, v in found.items() if any(v)}


def converted(rows):
    found = {}
    for period, line, day, currency, restated, *row in rows:
        target, (category, reporting, rate_id, rate, *amounts) = tuple(row[:4]), row[4:]
        amounts = [units(a) for a in amounts]
        if any(amounts) or line == "exchange_difference":
            found[period, line, day[:10], currency, restated, target, category] = (reporting, rate_id, units(rate), *amounts)
    return found


def keyed(rows, keys, texts):
    """Rows by their first columns; of the others so many are texts, then come numbers."""
    return {row[:keys]: row[keys : keys + texts] + tuple(map(units, row[keys + texts :])) for row in rows}


def published(tables):
    named = lambda charges: {row_id: (source, period, int(row), int(part or 0)) for row_id, source, period, row, part in charges}
    ids = named(tables["charges"])
    # A row that a closed period's bill repeats has the same id in both.
    late = {**ids, **named(tables["late_charges"])}
    table = lambda name, keys, texts=0: keyed(tables[name], keys, texts)
    return {
        "allocations": allocations(tables["allocations"], ids),
        "late_allocations": allocations(tables["late_allocations"], late),
        "model_costs": sums(tables["model_costs"], lambda p, d, c, *r: ((p, d[:10], c, tuple(r[:4]), r[4]), r[5:])),
        "reconciliation": sums(tables["reconciliation"], lambda *r: (r[:5], r[5:])),
        "converted_costs": converted(tables["converted_costs"]),
        "snapshots": sums(tables["snapshots"], lambda p, c, *r: ((p, c, tuple(r[:4]), r[4]), r[5:])),
        "restatements": sums(tables["restatements"], lambda p, o, c, *r: ((p, o, (c, tuple(r[:4]), r[4])), r[5:])),
        "served_days": table("served_days", 4),
        "version_ledger": {row[:4]: tuple(map(units, row[4:13])) + row[13:] for row in tables["version_ledger"]},
        "recommendation_costs": table("recommendation_costs", 5, 2),
        "outcomes": table("outcomes", 1, 6),
        "unit_costs": {k: v for k, v in table("unit_costs", 5).items() if any(v)},
    }
