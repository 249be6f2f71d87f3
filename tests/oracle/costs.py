"""The tables of a billing period that are sums of its allocations: model_costs, reconciliation, and conversions."""
from collections import defaultdict
from datetime import date, timedelta

from exact import UNIT, half_even

# Places in the key of an allocation (allocate.py).
BASIS, ID, DAY, CURRENCY, ISSUER, TARGET, CATEGORY, CHARGE_CATEGORY, RULE = range(9)


def on_both_bases(allocations, key_of):
    """Usage billed and effective, allocation billed and effective, by key. All allocations together are the allocation basis."""
    found = defaultdict(lambda: [0, 0, 0, 0])
    for key, (billed, effective) in allocations.items():
        line = found[key_of(key)]
        if key[BASIS] == "usage":
            line[0] += billed
            line[1] += effective
        line[2] += billed
        line[3] += effective
    return {k: tuple(v) for k, v in found.items()}


def shown(target):
    """The columns target, model_id, model_version and stage; all that is unallocated is one line."""
    return target if target[0] == "model" else (target[0], None, None, None)


def model_costs(allocations):
    return on_both_bases(allocations, lambda k: (k[DAY], k[CURRENCY], shown(k[TARGET]), k[CATEGORY]))


def by_key(allocations):
    """What snapshots and restatements keep of a period: costs by currency, target and category."""
    return on_both_bases(allocations, lambda k: (k[CURRENCY], shown(k[TARGET]), k[CATEGORY]))


def reconciliation(charges, allocations, restatements):
    found = defaultdict(lambda: [0, 0])
    for row in charges:
        for basis in ("usage", "allocation"):
            for line in ("bill", "attributed", "idle", "unallocated", "difference"):
                amounts = found[row["currency"], row["issuer"], basis, line]
                if line == "bill":
                    amounts[0] += row["billed"]
                    amounts[1] += row["effective"]
    for key, amounts in allocations.items():
        line = {"model": "attributed"}.get(key[TARGET][0], key[TARGET][0])
        for basis in {key[BASIS], "allocation"}:
            for at in (0, 1):
                found[key[CURRENCY], key[ISSUER], basis, line][at] += amounts[at]
    for (restated, (currency, _, _)), amounts in restatements.items():
        for place, basis in enumerate(("usage", "allocation")):
            line = found[currency, f"closed period {restated}", basis, "restated"]
            line[0] += amounts[2 * place]
            line[1] += amounts[2 * place + 1]
    return {k: tuple(v) for k, v in found.items()}


class Rates:
    def __init__(self, shop, oldest_days=7):
        self.rates, self.to, self.oldest_days = shop.rates, shop.reporting, oldest_days

    def of(self, currency, day):
        """Id and value of the rate of a day: the last that began on it or before."""
        if currency == self.to:
            return None, UNIT
        fit = [r for r in self.rates if (r["from"], r["to"]) == (currency, self.to)]
        best = max((r for r in fit if day - timedelta(days=self.oldest_days) <= r["day"] <= day), key=lambda r: r["day"])
        return best["id"], best["rate"]


def closing_day(period, night):
    year, month = int(period[:4]), int(period[5:])
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    return min(last, night)


def converted(shop, period, night, costs, restatements):
    """Each line of model_costs and restatements at its rate, and what the whole at the closing rate is more, per currency."""
    if not shop.reporting:
        return {}
    rates, closing, found = Rates(shop), closing_day(period, night), {}
    at = lambda amounts, rate: tuple(half_even(a * rate, UNIT) for a in amounts)
    sums = defaultdict(lambda: ([0] * 4, [0] * 4))
    for (day, currency, target, category), amounts in costs.items():
        id, rate = rates.of(currency, date.fromisoformat(day))
        found["cost", day, currency, None, target, category] = (shop.reporting, id, rate, *amounts, *at(amounts, rate))
        for sum, more in zip(sums[currency], (amounts, at(amounts, rate))):
            for place, amount in enumerate(more):
                sum[place] += amount
    for (restated, (currency, target, category)), amounts in restatements.items():
        id, rate = rates.of(currency, closing)
        found["restatement", str(closing), currency, restated, target, category] = (shop.reporting, id, rate, *amounts, *at(amounts, rate))
    for currency, (original, value) in sums.items():
        if currency != shop.reporting:
            id, rate = rates.of(currency, closing)
            difference = tuple(a - b for a, b in zip(at(original, rate), value))
            found["exchange_difference", str(closing), currency, None, (None,) * 4, "other"] = (shop.reporting, id, rate, 0, 0, 0, 0, *difference)
    return found
