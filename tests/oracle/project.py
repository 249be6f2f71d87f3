"""A shop as a project of the program: its files, its nights, and the tables that they leave."""
import csv, json, subprocess, sys
from datetime import date

from exact import HISTORY_DAYS, decimal

HEAD = "ChargePeriodStart ChargePeriodEnd BillingCurrency ChargeCategory ChargeClass InvoiceId InvoiceIssuerName BillingAccountId ResourceId ServiceName ServiceCategory CommitmentDiscountStatus CapacityReservationStatus AllocatedMethodId AllocatedTags Tags BilledCost EffectiveCost BillingPeriodStart BillingPeriodEnd".split()
USAGE = "usage_start usage_end resource_id model_id model_version stage run_id gpu_ns cpu_ns bytes requests reserved_ns capacity_ns".split()
EVENTS = "event_id event_time user_id session_id event_type item_id query request_id model_id model_version surface rank compute_ns price quantity currency".split()
ITEMS = "item_id title category brand price unit_cost currency".split()
TIME = "day currency hours minutes hourly_rate cost team model model_version stage".split()
ASSETS = "asset_id acquisition_cost residual_value in_service useful_life_months disposed_on currency resource_id model model_version stage".split()
COLUMNS = {"service": "service_name", "tags.team": '"tags.team"', "resource": "resource_id"}
ENDS = {"2026-10": "2026-11-01", "2026-11": "2026-12-01"}


def iso(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def places(units, digits):
    return None if units is None else f"{units // 10**digits}.{units % 10**digits:0{digits}d}"


def toml(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + " }"
    return str(value) if isinstance(value, date) else json.dumps(value)


def table(head, keys):
    return f"[[attribution.{head}]]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


def settings(rule):
    found = {k: toml(v) for k, v in rule.items() if k not in ("match", "shares")}
    if "match" in rule:
        found["match"] = "{ " + ", ".join(f"{COLUMNS[k]} = {toml(v)}" for k, v in rule["match"].items()) + " }"
    if "shares" in rule:
        found["shares"] = "{ " + ", ".join(f'"{m}" = {places(s, 6)}' for m, s in rule["shares"].items()) + " }"
    return found


def pipeline(shop):
    source = lambda name, kind, path, more="": f'[[sources]]\nname = "{name}"\nkind = "{kind}"\npath = "{path}"\nrequired = false\n{more}\n'
    text = 'name = "Oracle"\n[run]\nhistory_days = ' + f"{HISTORY_DAYS}\n" + '[report]\nafter_run = false\n'
    text += source("bill", "charges", "bill-{period}.csv", 'dialect = "focus"\nmay_shrink = true')
    for name, kind in [("telemetry", "usage"), ("clicks", "events"), ("catalogue", "items"), ("bank", "exchange_rates")]:
        text += source(name, kind, f"{name}.csv", 'dialect = "recost"')
    text += source("time", "charges", "time-{period}.csv", 'dialect = "timesheet"')
    text += source("machines", "charges", "assets.csv", 'dialect = "fixed_assets"\ninterval = "month"')
    text += f'[attribution]\nknown_models = ["A", "B", "C"]\nlast_touch = "{shop.last_touch_hours}h"\n'
    if shop.reporting:
        text += f'reporting_currency = "{shop.reporting}"\n'
    for model, keys in shop.life.items():
        text += "[attribution.service_life" + (f".models.{model}]\n" if model else "]\n")
        text += "".join(f"{key} = {toml(value)}\n" for key, value in keys.items())
    text += "".join(table("rules", settings(rule)) for rule in shop.rules)
    text += "".join(table("pools", settings(pool)) for pool in shop.pools)
    return text + "".join(table("resources", settings(entry)) for entry in shop.resources)


def write(path, head, rows):
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(head)
        out.writerows(["" if cell is None else cell for cell in row] for row in rows)


def write_bill(dir, period, bill):
    text = lambda found: json.dumps(found) if found else None
    write(dir / f"bill-{period}.csv", HEAD, [
        [iso(r["start"]), iso(r["end"]), r["currency"], r["category"], r["class"], r["invoice"], r["issuer"], r["account"], r["resource"],
         r["service"], r["service_category"], r["status"], r["reservation"], r["method"], text(r["split_tags"]), text(r["tags"]),
         decimal(r["billed"]), decimal(r["effective"]), f"{period}-01", ENDS[period]] for r in bill])


def write_shop(dir, shop):
    for period, bill in shop.bills.items():
        write_bill(dir, period, bill)
    write(dir / "telemetry.csv", USAGE, [
        [iso(u["start"]), iso(u["end"]), u["resource"], u["model"], u["version"], u["stage"], u["run"], u["gpu_ns"], u["cpu_ns"],
         u["bytes"], u["requests"], u["reserved"], u["capacity"]] for u in shop.usage])
    write(dir / "clicks.csv", EVENTS, [
        [e["id"], iso(e["time"]), e["user"], None, e["type"], e["item"], None, e["request"], e["model"], e["version"], e["surface"],
         e["rank"], e["ns"], places(e["price"], 4), e["quantity"], e["currency"]] for e in shop.events])
    write(dir / "catalogue.csv", ITEMS, [[i["id"], i["id"], None, None, None, places(i["cost"], 4), i["currency"]] for i in shop.items])
    write(dir / "bank.csv", ["rate_id", "valid_from", "from_currency", "to_currency", "rate"], [
        [r["id"], r["day"], r["from"], r["to"], decimal(r["rate"])] for r in shop.rates])
    for period in ENDS:
        mine = [t for t in shop.timesheets if str(t["day"]).startswith(period)]
        if mine:
            write(dir / f"time-{period}.csv", TIME, [
                [t["day"], t["currency"], places(t["hours"], 4), t["minutes"], places(t["rate"], 4), places(t["cost"], 18),
                 t["team"], t["model"], t["version"], t["stage"]] for t in mine])
    if shop.assets:
        write(dir / "assets.csv", ASSETS, [
            [a["id"], decimal(a["cost"]), decimal(a["residual"]), a["in_service"], a["months"], a["disposed"], a["currency"],
             a["resource"], a["model"], a["version"], a["stage"]] for a in shop.assets])
    (dir / "pipeline.toml").write_text(pipeline(shop))


class Program:
    def __init__(self, recost, dir):
        self.recost, self.dir = recost, dir

    def call(self, *args):
        done = subprocess.run([self.recost, *args], cwd=self.dir, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(args)}: {done.stderr or done.stdout}")
        return done.stdout

    def tables(self, columns):
        """All of the tables with one call: each row as a tuple of texts, null as None."""
        cell = lambda column: f"coalesce('=' || cast({column} as varchar), '')"
        parts = [f"select '{name}' as name, make_array({', '.join(map(cell, cols.split()))}) as cells from {name}" for name, cols in columns.items()]
        found = {name: [] for name in columns}
        for line in self.call("sql", "pipeline.toml", " union all ".join(parts), "--format", "json").splitlines():
            row = json.loads(line)
            found[row["name"]].append(tuple(cell[1:] if cell else None for cell in row["cells"]))
        return found
