"""Which rule takes a charge, and over whom it is split."""
from collections import defaultdict
from datetime import timedelta

from exact import STAGES

DEFAULT = [("default: machine by gpu_ns", "gpu_ns"), ("default: machine by cpu_ns", "cpu_ns")]
POOLED = [("default: pool by bytes", "bytes"), ("default: pool by requests", "requests")]


def stage_of(text, default="operations"):
    stage = {"inference": "deployment", "serving": "deployment"}.get(text, text)
    return stage if stage in STAGES else default


class Drivers:
    """Who used what, when, and how much."""

    def __init__(self, shop, first, last):
        near = lambda t: first - timedelta(days=1) <= t.date() <= last + timedelta(days=2)
        self.all_usage = shop.usage  # a run counts for as long as it lasts, whenever it began
        self.usage = [u for u in shop.usage if near(u["start"])]
        self.served = [e for e in shop.events if e["type"] == "impression" and e["model"] and near(e["time"])]
        self.pools = {p["name"] for p in shop.pools}

    def consumer(self, model, version, stage):
        """A cost pool is one consumer, whatever version and stage are beside it."""
        return ("model", model, None, "operations") if model in self.pools else ("model", model, version, stage)

    def rows(self, driver):
        """(resource, start, consumer, weight) of each row."""
        if driver == "served":
            seen = {(e["time"].date(), e["model"], e["version"], e["request"] or e["id"], e["item"]): e for e in self.served}
            midnight = lambda t: t.replace(hour=0, minute=0, second=0)
            return [(None, midnight(e["time"]), self.consumer(e["model"], e["version"], "deployment"), 1) for e in seen.values()]
        found = []
        known = {u["resource"] for u in self.usage if (u.get(driver) or 0) > 0}
        for u in self.usage:
            if u["resource"] in known:
                to = self.consumer(u["model"], u["version"], u["stage"])
                found.append((u["resource"], u["start"], to, u[driver] or 0))
        return found

    def pool(self, driver, resource, start, end, known_resource):
        """The weights of a pool, those of the resource where the driver knows it; None where it must and does not."""
        rows = self.rows(driver)
        mine = resource is not None and any(r[0] == resource for r in rows)
        if known_resource and not mine:
            return None
        busy = defaultdict(int)
        for at, when, to, weight in rows:
            if start <= when < end and (at == resource or not mine):
                busy[to] += weight
        return {t: w for t, w in busy.items() if w > 0}

    def run(self, run):
        """What a run worked for, whenever it was; None where nobody recorded it."""
        rows, busy = [u for u in self.all_usage if u["run"] == run], defaultdict(int)
        for u in rows:
            busy[self.consumer(u["model"], u["version"], u["stage"])] += int((u["end"] - u["start"]).total_seconds()) * 10**6
        return {t: w for t, w in busy.items() if w > 0} if rows else None

    def run_map(self, resource, start, end):
        """Recorded runs on the resource by the time for which they overlap the period; None where none does."""
        busy = defaultdict(int)
        for u in self.all_usage:
            overlap = min(end, u["end"]) - max(start, u["start"])
            if u["run"] and u["resource"] == resource and overlap > timedelta(0):
                busy[self.consumer(u["model"], u["version"], u["stage"])] += int(overlap.total_seconds()) * 10**6
        return busy or None

    def machine(self, driver, resource, start, end):
        """Busy weights by consumer and idle; None where the driver has no row of the resource in the period."""
        if not any(u["resource"] == resource and (u[driver] or 0) > 0 for u in self.usage):
            return None
        intervals = defaultdict(list)
        for u in self.usage:
            if u["resource"] == resource and start <= u["start"] < end:
                intervals[(u["start"], u["end"])].append(u)
        if not intervals:
            return None
        busy, idle = defaultdict(int), 0
        for rows in intervals.values():
            used, kept = defaultdict(int), defaultdict(int)
            for u in rows:
                who = (u["model"], u["version"], u["stage"])
                used[who] += u[driver] or 0
                kept[who] += u["reserved"] or 0
            taken = {who: max(used[who], kept[who]) for who in used}
            for who, w in taken.items():
                busy[self.consumer(*who)] += w
            idle += max(0, max(u["capacity"] or 0 for u in rows) - sum(taken.values()))
        return {t: w for t, w in busy.items() if w > 0}, idle


def matches(rule, row):
    for column, wanted in rule.get("match", {}).items():
        value = row["tags"].get("team") if column == "tags.team" else row[column]
        if value != wanted:
            return False
    return covers(rule, row["start"].date())


def covers(rule, day):
    return rule.get("from", day) <= day and (rule.get("to") is None or day < rule["to"])


def by_rule(drivers, rule, row_resource, start, end):
    """The weights of a rule or pool with a target `model` or `pool`; None where the rule does not match."""
    if "pool" in rule:
        return {drivers.consumer(rule["pool"], None, "operations"): 1}
    if "driver" in rule and "models" not in rule:
        weights = drivers.pool(rule["driver"], row_resource, start, end, rule.get("known_resource", False))
        if weights is not None and "stage" in rule:
            staged = defaultdict(int)
            for (_, model, version, stage), weight in weights.items():
                staged[drivers.consumer(model, version, rule["stage"])] += weight
            weights = staged
        return weights
    to = lambda model: drivers.consumer(model, rule.get("model_version"), rule.get("stage", "operations"))
    if "model" in rule:
        return {to(rule["model"]): 1}
    if "shares" in rule:
        return {to(model): share for model, share in rule["shares"].items()}
    return {to(model): 1 for model in rule["models"]}


def route(drivers, shop, row):
    """The rule, its weights by target ("tax" or "credit" for what follows others), and the weight of idle or None."""
    start, end, resource, tags = row["start"], row["end"], row["resource"], row["tags"]
    for rule in shop.rules:
        if not matches(rule, row):
            continue
        if rule["target"] == "idle":
            return rule["name"], {("idle", None): 1}, None
        if rule["target"] == "unallocated":
            return rule["name"], {("unallocated", "by_rule"): 1}, None
        weights = by_rule(drivers, rule, resource, start, end)
        if weights is not None:
            return rule["name"], weights, None
    if row["status"] == "Unused":
        return "default: unused commitment", {("idle", None): 1}, None
    if row["reservation"] == "Unused":
        return "default: unused reservation", {("idle", None): 1}, None
    tagged = lambda found: drivers.consumer(found["model"], found.get("model_version"), stage_of(found.get("stage")))
    if row["method"]:
        found = row["split_tags"]
        to = tagged(found) if "model" in found else ("unallocated", "provider_split_no_model")
        return "default: provider split", {to: 1}, None
    if row["category"] == "Tax":
        return "default: tax", "tax", None
    if row["category"] == "Credit":
        return "default: credit", {tagged(tags): 1} if "model" in tags else "credit", None
    if "model" in tags:
        return "default: tags", {tagged(tags): 1}, None
    weights = drivers.run(tags["run"]) if "run" in tags else None
    if weights is not None:
        return "default: run tag", weights, None
    for rule, driver in DEFAULT:
        found = resource and drivers.machine(driver, resource, start, end)
        if found:
            return rule, found[0], found[1]
    weights = resource and drivers.run_map(resource, start, end)
    if weights:
        return "default: run map", weights, None
    for entry in shop.resources:
        if covers(entry, start.date()) and entry["resource_id"] == resource:
            to = drivers.consumer(entry["model"], entry.get("model_version"), entry.get("stage", "operations"))
            return f"resource map: {resource}", {to: 1}, None
    for rule, driver in POOLED:
        weights = resource and drivers.pool(driver, resource, start, end, True)
        if weights is not None and resource:
            return rule, weights, None
    return "no rule matched", {("unallocated", "no_rule"): 1}, None
