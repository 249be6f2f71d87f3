"""The finance ledger as charges: people's time and owned machines."""
import calendar
from datetime import date, datetime, timedelta, timezone

from exact import half_even

PLAIN = dict.fromkeys("invoice account service service_category status reservation method class".split())


def all_charges(shop, night, bills):
    """Charges by billing period as they stand on a night, each with where it comes from as its id."""
    found = {}
    for period, bill in bills.items():
        for number, row in enumerate(bill, 1):
            found.setdefault(period, []).append(dict(row, id=("bill", period, number, 0)))
    for period in ("2026-08", "2026-09", "2026-10", "2026-11", "2026-12"):
        mine = [t for t in shop.timesheets if f"{t['day']:%Y-%m}" == period]
        for number, line in enumerate(mine, 1):
            found.setdefault(period, []).append(dict(time_of_people(line), id=("time", period, number, 0)))
        for number, asset in enumerate(shop.assets, 1):
            for part, row in enumerate(depreciation(asset, period, night)):
                found.setdefault(period, []).append(dict(row, id=("machines", period, number, part)))
    return found


def ledger_row(source, kind, day, line, amount, resource, category="Usage"):
    start = datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
    named = {"model": line["model"], "model_version": line["version"], "stage": line["stage"]}
    tags = {k: v for k, v in named.items() if v is not None}
    return PLAIN | {
        "source": source, "kind": kind, "issuer": source, "period": f"{day:%Y-%m}", "start": start, "end": start + timedelta(days=1),
        "currency": line["currency"], "category": category, "resource": resource, "tags": tags, "split_tags": {},
        "billed": amount, "effective": amount,
    }


def time_of_people(line):
    if line["cost"] is not None:
        amount = line["cost"]
    elif line["hours"] is not None:
        amount = line["hours"] * line["rate"] * 10**10
    else:
        amount = half_even(line["rate"] * 10**14 * line["minutes"], 60)
    return ledger_row("time", "labour", line["day"], line, amount, line["team"])


def months_later(day, months):
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def written_off(base, asset, until):
    """What is written off by the start of a day: whole months of the life, and of the month begun its days."""
    start, months = asset["in_service"], 0
    while months < asset["months"] and months_later(start, months + 1) <= until:
        months += 1
    if months == asset["months"]:
        return base
    begin = months_later(start, months)
    days = (months_later(start, months + 1) - begin).days
    return half_even(base * (months * days + max(0, (until - begin).days)), asset["months"] * days)


def depreciation(asset, period, night):
    base = asset["cost"] - asset["residual"]
    day, found = date(int(period[:4]), int(period[5:]), 1), []
    while f"{day:%Y-%m}" == period and day <= night:
        before, after = (written_off(base, asset, d) for d in (day, day + timedelta(days=1)))
        gone = asset["disposed"] is not None and day >= asset["disposed"]
        if day >= asset["in_service"] and before != base and (not gone or day == asset["disposed"]):
            amount = base - before if gone else after - before
            resource = asset["resource"] or asset["id"]
            row = ledger_row("machines", "hardware", day, asset, amount, resource, "Adjustment" if gone else "Usage")
            found.append(row | {"service": "Owned hardware", "service_category": "Compute"})
        day += timedelta(days=1)
    return found
