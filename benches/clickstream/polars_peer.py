"""The work of ingest, features and attribution in Polars, lazy and streaming, over the exports of `recost generate`.

Amounts are split as 128-bit whole numbers of 10⁻¹⁸, each part rounded down by itself, as Polars divides decimals to the scale of
the operands alone. Maps come out as lists of pairs: it writes no others. There is no bound on its memory. What it is
not asked is what DuckDB is not asked (see `duckdb_peer.py`).
"""
import argparse, datetime, json, os, pathlib, sys
from decimal import Decimal

sys.path.append(str(pathlib.Path(__file__).parent.parent))
ap = argparse.ArgumentParser()
ap.add_argument("--exports", required=True)
ap.add_argument("--out", required=True)
ap.add_argument("--last", required=True, help="the night, YYYY-MM-DD")
ap.add_argument("--days", type=int, required=True)
ap.add_argument("--threads", type=int, required=True)
a = ap.parse_args()
os.environ["POLARS_MAX_THREADS"] = str(a.threads)
import polars as pl
from measure import Stages

c, out, exports = pl.col, pathlib.Path(a.out).resolve(), pathlib.Path(a.exports)
out.mkdir(parents=True)
last = datetime.date.fromisoformat(a.last)
DAYS = [last - datetime.timedelta(before) for before in range(a.days - 1, -1, -1)]
midnight = lambda day: datetime.datetime.combine(day, datetime.time(), datetime.UTC)
as_of = midnight(last + datetime.timedelta(1))
DAY_US = 86_400_000_000
ITEM_TYPES = ["view", "impression", "click", "cart", "purchase"]
run = lambda frame: frame.collect(engine="streaming")


def table(name):
    return pl.scan_parquet(out / name / "**/*.parquet", hive_partitioning=bool(list((out / name).glob("ds=*"))))


def write(name, frame, day=None):
    to = out / name / f"ds={day}" if day else out / name
    to.mkdir(parents=True)
    file = to / "part-0.parquet"
    frame.lazy().sink_parquet(file, compression="zstd", compression_level=1, row_group_size=262144, engine="streaming")
    return pl.scan_parquet(file).select(pl.len()).collect().item()


# ---------------------------------------------------------------- ingest


def right(kind, day, columns):
    instant = lambda name: c(name).is_null() | c(name).is_between(midnight(datetime.date(2000, 1, 1)), midnight(datetime.date(2100, 1, 1)), closed="left")
    least = lambda n, *names: [c(name).is_null() | (c(name) >= n) for name in names]
    given = lambda *names: [c(name).is_not_null() for name in names]
    currency = c("currency").is_null() | c("currency").str.contains("^[A-Z]{3}$") if "currency" in columns else None
    if kind == "events":
        kinds = (c("event_type").is_in(ITEM_TYPES) & c("item_id").is_not_null()) | (c("event_type") == "search")
        not_yet = c("event_time") < midnight(day + datetime.timedelta(2))
        rules = [*given("event_id", "event_time", "user_id", "event_type"), instant("event_time"), not_yet, kinds, currency]
        rules += least(0, "compute_ns", "price") + least(1, "rank", "quantity")
    elif kind == "items":
        rules = [*given("item_id"), *least(0, "price", "unit_cost"), currency, instant("created_at")]
    elif kind == "users":
        rules = given("user_id")
    else:
        stages = c("stage").is_in(["development", "training", "deployment", "operations", "upgrade"])
        rules = [*given("usage_start", "resource_id", "model_id", "stage"), instant("usage_start"), instant("usage_end"), stages]
        rules += [c("usage_end") > c("usage_start"), *least(0, "gpu_ns", "cpu_ns", "bytes", "requests", "reserved_ns", "capacity_ns")]
    return pl.all_horizontal(rules).fill_null(False)


def ingest():
    told = {}
    for kind, key, scope in [("events", "event_id", []), ("items", "item_id", ["ds"]), ("users", "user_id", ["ds"]), ("usage", None, [])]:
        every = pl.scan_parquet(exports / kind / "ds=*/*.parquet", hive_partitioning=True)
        again = []
        if key:
            hashed = every.select(pl.struct([key, *scope]).hash() if scope else c(key).hash())
            again = run(hashed.group_by(pl.all()).len().filter(c("len") > 1)).to_series().to_list()
        written, dropped, seen = 0, 0, set()
        for day in DAYS:
            rows = pl.scan_parquet(exports / kind / f"ds={day}/*.parquet", hive_partitioning=False)
            rows = rows.filter(right(kind, day, rows.collect_schema().names()))
            if again:
                hashed = pl.struct([c(key), pl.lit(day).alias("ds")]).hash() if scope else c(key).hash()
                held = run(rows.filter(hashed.is_in(again)))
                firsts = held.unique(key, keep="first", maintain_order=True).filter(~c(key).is_in(seen if not scope else []))
                seen |= set(firsts[key])
                dropped += held.height - firsts.height
                rows = pl.concat([rows.filter(~hashed.is_in(again)), firsts.lazy()])
            written += write(kind, rows, day)
        read = every.select(pl.len()).collect().item()
        told[kind] = {"read": read, "written": written, "repeated": dropped, "rejected": read - written - dropped}
    bills = [exports / "billing/*/*/*.parquet", exports / "ledger/*/*.parquet"]
    charges = pl.concat([pl.scan_parquet(b, hive_partitioning=False, missing_columns="insert") for b in bills], how="diagonal")
    begins = c("ChargePeriodStart")
    charges = charges.filter(c("BilledCost").is_not_null(), c("EffectiveCost").is_not_null(), c("ChargeCategory").is_not_null(),
        begins < c("ChargePeriodEnd"), c("BillingCurrency").str.contains("^[A-Z]{3}$"))  # fmt: skip
    tag = lambda name: c("Tags").str.extract(rf'(?i)"\s*{name}\s*"\s*:\s*"\s*([^"]*?)\s*"')
    tags = {"tag_model": tag("model"), "tag_version": tag("model_version"), "tag_stage": tag("stage")}
    write("charges", charges.with_columns(day=begins.dt.date(), **tags).with_row_index("row_id"))
    return told


# ---------------------------------------------------------------- features


def count(**types):
    return [(c("event_type") == kind).sum().cast(pl.Int64).alias(name) for name, kind in types.items()]


TYPES = dict(views="view", searches="search", impressions="impression", clicks="click", carts="cart", purchases="purchase")
SESSION_TYPES = {name: kind for name, kind in TYPES.items() if name != "impressions"}
ITEM_COUNTS = {name: kind for name, kind in TYPES.items() if name != "searches"}


def events():
    return table("events").filter(c("event_time") < as_of)


def newest(kind):
    return pl.scan_parquet(out / kind / f"ds={last}/*.parquet", hive_partitioning=False)


def quartile(by, of):
    """ntile(4) within `of`, in the order of `by`: the first rows % 4 bands have one row more."""
    n, place = pl.len().over(of), (pl.struct(by).rank("ordinal") - 1).over(of).cast(pl.Int64)
    small, more = n // 4, n % 4
    return pl.when(place < more * (small + 1)).then(place // (small + 1)).otherwise(more + (place - more * (small + 1)) // pl.max_horizontal(small, 1)) + 1


def days_since(name):
    return (pl.lit(as_of) - c(name)).dt.total_microseconds() / DAY_US


def features():
    weight = c("event_type").replace_strict({"view": 1.0, "click": 2.0, "cart": 4.0, "purchase": 8.0}, return_dtype=pl.Float64)
    acted = events().filter(c("event_type").is_in(["view", "click", "cart", "purchase"]))
    decayed = (weight * (-0.6931471805599453 * days_since("event_time") / 30).exp() * 1e12).round().cast(pl.Int64)
    interactions = (
        acted.filter(c("item_id").is_not_null())
        .group_by("user_id", "item_id")
        .agg(decayed.sum().alias("weight"), pl.len().cast(pl.Int64).alias("events"), (c("event_type") == "purchase").any().alias("bought"), c("event_time").max().alias("last_time"))
        .filter(c("weight") > 0)
        .with_columns(c("weight") / 1e12)
    )
    write("interactions", interactions.sort("user_id", "item_id"))
    columns = ["user_id", "session_id", "event_time", "event_type"]
    gap = (c("event_time").diff() > datetime.timedelta(minutes=30)).fill_null(True).over("user_id")
    unnamed = events().filter(c("session_id").is_null()).select(columns).sort("user_id", "event_time")
    unnamed = unnamed.with_columns(("gap-" + gap.cast(pl.Int64).cum_sum().over("user_id").cast(pl.String)).alias("session_id"))
    visits = pl.concat([events().filter(c("session_id").is_not_null()).select(columns), unnamed])
    sessions = visits.group_by("user_id", "session_id").agg(
        c("event_time").min().alias("session_start"), c("event_time").max().alias("session_end"), pl.len().cast(pl.Int64).alias("events"), *count(**SESSION_TYPES)
    )
    write("sessions", sessions.sort("user_id", "session_start"))

    counted = events().filter(c("item_id").is_not_null()).group_by("item_id").agg(*count(**ITEM_COUNTS), c("event_time").max().alias("last_time"))
    reach = table("interactions").group_by("item_id").agg(pl.len().cast(pl.Int64).alias("users"))
    items = newest("items").select("item_id", "category", "brand", "price", "currency").with_columns(in_catalogue=True)
    banded = items.filter(c("price").is_not_null()).select("item_id", quartile(["price", "item_id"], ["category", "currency"]).alias("price_band"))
    write("item_features",
        counted.join(items, on="item_id", how="full", coalesce=True)
        .join(reach, on="item_id", how="left").join(banded, on="item_id", how="left")
        .with_columns(c("users", *ITEM_COUNTS).fill_null(0), c("in_catalogue").fill_null(False))
        .with_columns(recency_days=days_since("last_time"), conversion=pl.when(c("views") > 0).then(c("purchases") / c("views")),
            click_rate=pl.when(c("impressions") > 0).then(c("clicks") / c("impressions")))
        .drop("last_time", "price", "currency").sort("item_id"))  # fmt: skip

    users = events().group_by("user_id").agg(pl.len().cast(pl.Int64).alias("events"), *count(**TYPES), c("event_time").max().alias("last_time"))
    came = table("sessions").group_by("user_id").agg(pl.len().cast(pl.Int64).alias("sessions"), (c("purchases") > 0).sum().alias("bought"))
    most = lambda frame: frame.sort("n", "currency", descending=[True, False]).unique("user_id", keep="first", maintain_order=True).drop("n")
    bought = events().filter(c("event_type") == "purchase", c("price").is_not_null(), c("quantity").is_not_null(), c("currency").is_not_null())
    spend = (c("price").cast(pl.Decimal(38, 4)) * c("quantity").cast(pl.Decimal(38, 4))).sum()
    spent = most(bought.group_by("user_id", "currency").agg(spend.alias("spend"), pl.len().alias("n")))
    seen = acted.filter(c("price").is_not_null()).group_by("user_id", "currency").agg(c("price").cast(pl.Float64).mean().alias("mean"), pl.len().alias("n"))
    bands = most(seen).select("user_id", quartile(["mean", "user_id"], ["currency"]).alias("price_band"))
    write("user_features",
        users.join(came, on="user_id", how="left").join(spent, on="user_id", how="left").join(bands, on="user_id", how="left")
        .join(newest("users").select("user_id", "country", "tags"), on="user_id", how="left")
        .with_columns(c("sessions").fill_null(0), recency_days=days_since("last_time"), conversion=pl.when(c("sessions") > 0).then(c("bought") / c("sessions")))
        .drop("last_time", "bought").sort("user_id"))  # fmt: skip


# ---------------------------------------------------------------- attribution

TARGET = ["target", "model_id", "model_version", "stage"]
NOT = pl.lit(None, dtype=pl.String)
whole = lambda name: c(name).cast(pl.Int128)


def parts(weight, total):
    return [(whole(name) * weight.cast(pl.Int128) // total.cast(pl.Int128)).alias(name) for name in ["billed", "effective"]]


def money(*names):
    unit = pl.lit(Decimal("0.000000000000000001"), dtype=pl.Decimal(38, 18))
    return [(c(name).cast(pl.Decimal(38, 0)) * unit).alias(name) for name in names]


def allocate():
    """As `allocate` of the peer in DuckDB. There are few charges, so all of it is in memory."""
    charge = run(table("charges")).select("row_id", "day", kind=c("ChargeCategory").str.to_lowercase(), currency="BillingCurrency", invoice="InvoiceId",
        resource="ResourceId", begins="ChargePeriodStart", ends="ChargePeriodEnd", model_id="tag_model", model_version="tag_version",
        stage=c("tag_stage").str.to_lowercase().fill_null("operations"), unused=(c("CommitmentDiscountStatus") == "Unused").fill_null(False),
        billed=c("BilledCost").to_physical(), effective=c("EffectiveCost").to_physical())  # fmt: skip
    used, drivers = run(table("usage")), []
    for place, name in enumerate(["gpu_ns", "cpu_ns", "bytes", "requests"]):
        amount, machine = c(name).fill_null(0), place < 2
        weight = pl.max_horizontal(amount, c("reserved_ns").fill_null(0)) if machine else amount
        of = used.filter(c("resource_id").is_in(used.filter(c(name) > 0)["resource_id"].unique().to_list()))
        capacity = c("capacity_ns").fill_null(0) if machine else pl.lit(0, dtype=pl.Int64)
        drivers.append(of.select("resource_id", "usage_start", "model_id", "model_version", "stage", place=place, driver=pl.lit(name), weight=weight, capacity=capacity))
    routed = charge.filter(~c("kind").is_in(["tax", "credit"]), ~c("unused"), c("model_id").is_null()).select("row_id", "resource", "begins", "ends")
    seen = routed.join(pl.concat(drivers), left_on="resource", right_on="resource_id").filter(c("usage_start") >= c("begins"), c("usage_start") < c("ends"))
    seen = seen.filter(c("place") == c("place").min().over("row_id"))
    busy = seen.group_by("row_id", "driver", *TARGET[1:]).agg(c("weight").sum()).filter(c("weight") > 0).with_columns(target=pl.lit("model"))
    left = seen.group_by("row_id", "driver", "usage_start").agg(c("capacity").max(), c("weight").sum())
    idle = left.group_by("row_id", "driver").agg((c("capacity") - c("weight")).clip(0).sum().alias("weight")).filter(c("weight") > 0)
    idle = idle.with_columns(target=pl.lit("idle"), model_id=NOT, model_version=NOT, stage=NOT)
    split = pl.concat([busy.select("row_id", "driver", *TARGET, "weight"), idle.select("row_id", "driver", *TARGET, "weight")])
    split = split.with_columns(total=c("weight").sum().over("row_id"))
    own = {"target": pl.when(c("unused")).then(pl.lit("idle")).when(c("model_id").is_not_null()).then(pl.lit("model")).otherwise(pl.lit("unallocated"))}
    own |= {name: pl.when(~c("unused") & c("model_id").is_not_null()).then(c(name)) for name in TARGET[1:]}
    rest = charge.filter(c("kind") != "tax").join(split, on="row_id", how="anti").with_columns(driver=NOT, **own)
    columns = ["row_id", "day", "kind", "currency", "invoice", *TARGET, "driver", "billed", "effective"]
    divided = charge.drop("model_id", "model_version", "stage").join(split, on="row_id").with_columns(*parts(c("weight"), c("total")))
    first = pl.concat([rest.select(columns), divided.select(columns)])

    base = first.with_columns(pool=(c("target") == "idle") & c("driver").is_not_null())
    base = base.group_by("currency", "invoice", *TARGET, "pool").agg(c("effective").sum().alias("weight")).filter(c("weight") > 0)
    base = base.with_columns(c("weight") // 1_000_000).with_columns(total=c("weight").sum().over("currency", "invoice"))
    taxes = charge.filter(c("kind") == "tax").drop("model_id", "model_version", "stage")
    taxed = taxes.join(base, on=["currency", "invoice"]).with_columns(*parts(c("weight"), c("total")), driver=NOT)
    machines = first.filter(c("target") == "idle", c("driver").is_not_null())
    shares = machines.filter(c("effective") > 0).with_columns(weight=c("effective") // 1_000_000).with_columns(total=c("weight").sum().over("currency", "invoice"))
    on_idle = taxed.filter(c("pool")).select("currency", "invoice", "day", "billed", "effective")
    also = shares.drop("day", "billed", "effective").join(on_idle, on=["currency", "invoice"]).with_columns(*parts(c("weight"), c("total")))
    pool = ["row_id", "day", "currency", "invoice", "billed", "effective"]
    pools = pl.concat([machines.select(pool), also.select(pool)])
    to = pools.join(busy.with_columns(total=c("weight").sum().over("row_id")), on="row_id").with_columns(*parts(c("weight"), c("total")))
    away = pools.join(busy, on="row_id", how="semi").with_columns(c("billed", "effective") * -1, target=pl.lit("idle"), model_id=NOT, model_version=NOT, stage=NOT)
    moved = [frame.with_columns(kind=pl.lit("usage"), driver=NOT).select(columns) for frame in (to, away)]
    usage = pl.concat([first, taxed.select(columns)]).with_columns(basis=pl.lit("usage"))
    all_of = pl.concat([usage, pl.concat(moved).with_columns(basis=pl.lit("allocation"))])
    write("allocations", all_of.with_columns(*money("billed", "effective")).sort("row_id", "target", "model_id", "stage"))
    models = all_of.filter(c("target") == "model")
    days = models.filter(~c("stage").is_in(["development", "training", "upgrade"])).group_by("day", "model_id", "model_version", "currency").agg(
        c("effective").filter((c("basis") == "usage") & (c("kind") != "tax")).sum().alias("run_cost"),
        c("effective").filter((c("basis") == "allocation") | (c("kind") == "tax")).sum().alias("overhead_cost"))  # fmt: skip
    return days, models.select("model_id", "currency").unique()


COSTS = ["run_cost", "overhead_cost"]


def serve(day, days, currencies):
    """As `serve` of the peer in DuckDB."""
    key = ["model_id", "request_id", "item_id"]
    shown = events().filter(c("event_type") == "impression", c("model_id").is_not_null(), c("request_id").is_not_null(),
        c("event_time").is_between(midnight(day), midnight(day + datetime.timedelta(1)), closed="left"))  # fmt: skip
    shown = run(shown.select(*key, "model_version", c("rank").fill_null(0), "surface", "compute_ns", "event_time"))
    if shown.select(pl.struct(key).n_unique()).item() < shown.height:
        shown = shown.sort("event_time", "rank", "model_version", "surface", "compute_ns").unique(key, keep="first", maintain_order=True)
    timed = ((c("compute_ns").count() == pl.len()) & (c("compute_ns").min() > 0)).alias("timed")
    figures = [pl.len().alias("n"), c("compute_ns").sum().alias("ns"), timed]
    version, model = shown.group_by("model_id", "model_version").agg(figures), shown.group_by("model_id").agg(figures)
    of_day = days.filter(c("day") == day)
    named = version.join(currencies, on="model_id").join(of_day.drop("day"), on=["model_id", "model_version", "currency"], how="left")
    others = of_day.join(version, on=["model_id", "model_version"], how="anti").group_by("model_id", "currency").agg(c(*COSTS).sum().name.prefix("other_"))
    named = named.join(model, on="model_id", suffix="_of_model").join(others, on=["model_id", "currency"], how="left")
    share = lambda cost, of: c(cost).fill_null(0).cast(pl.Int128) * pl.when(c("timed" + of)).then(c("compute_ns")).otherwise(1).cast(pl.Int128) \
        // pl.when(c("timed" + of)).then(c("ns" + of)).otherwise(c("n" + of)).cast(pl.Int128)  # fmt: skip
    costs = shown.lazy().join(named.lazy(), on=["model_id", "model_version"], nulls_equal=True)
    costs = costs.with_columns(*[(share(cost, "") + share("other_" + cost, "_of_model")).alias(cost) for cost in COSTS]).with_columns(*money(*COSTS))
    columns = ["request_id", "rank", "item_id", "model_id", "model_version", "surface", "currency", "compute_ns", *COSTS]
    write("recommendation_costs", costs.select(columns).sort("model_id", "currency", "request_id", "item_id"), day)
    served = shown.group_by("model_id", "model_version", "surface").agg(pl.len().cast(pl.Int64).alias("served"), c("request_id").n_unique().cast(pl.Int64).alias("requests"))
    write("served_days", served.sort(pl.all()), day)


def credit():
    """As `credit` of the peer in DuckDB."""
    item = newest("items").select("item_id", "currency", "unit_cost")
    wide = lambda expr: expr.cast(pl.Decimal(38, 4))
    candidates = events().filter(c("event_type").is_in(["click", "purchase"]), c("item_id").is_not_null())
    candidates = candidates.select("event_id", "event_type", "event_time", "user_id", "item_id", "request_id", "currency", "price", "quantity")
    bought = lambda price: pl.when(c("event_type") == "purchase").then(wide(price) * wide(c("quantity")))
    candidates = run(candidates.join(item, on=["item_id", "currency"], how="left").with_columns(revenue=bought(c("price")), margin=bought(c("price") - c("unit_cost"))))
    seen = events().filter(c("event_type") == "impression", c("request_id").is_not_null(), c("item_id").is_not_null())
    seen = seen.select("event_time", "user_id", "item_id", "request_id", "model_id", "model_version", "surface", c("rank").fill_null(0))
    acted = candidates.lazy().select("event_id", "user_id", "item_id", "request_id", acted="event_time")
    models = seen.filter(c("model_id").is_not_null())
    columns = ["event_id", "how", "acted", "event_time", "request_id", "model_id", "model_version", "surface", "rank", "item_id"]
    named = run(models.drop("user_id").join(acted.drop("user_id"), on=["request_id", "item_id"]).with_columns(how=pl.lit("request")).select(columns))
    known = run(seen.select("request_id").join(acted.select("request_id"), on="request_id", how="semi").unique())
    free = acted.join(named.lazy(), on="event_id", how="anti").join(known.lazy(), on="request_id", how="anti").drop("request_id")
    near = (c("event_time") <= c("acted")) & (c("event_time") >= c("acted") - datetime.timedelta(hours=24))
    touched = run(models.join(free, on=["user_id", "item_id"]).filter(near).with_columns(how=pl.lit("last_touch")).select(columns))
    order = [(c("event_time") > c("acted")).alias("after"), (c("event_time") - c("acted")).abs().alias("apart")]
    best = pl.concat([named, touched]).with_columns(order).sort("event_id", "after", "apart", "rank", "model_id", "model_version", "surface", "request_id")
    best = best.unique("event_id", keep="first", maintain_order=True).with_columns(ds=c("event_time").dt.date())
    on = ["ds", "model_id", "request_id", "item_id"]
    first = table("recommendation_costs").select(*on, "model_version", "surface").join(best.lazy().select(on).unique(), on=on, how="semi").unique()
    outcomes = best.drop("model_version", "surface").lazy().join(first, on=on).rename({"how": "credited_by", "event_time": "impression_time"}).drop("after", "apart", "acted")
    outcomes = outcomes.join(candidates.lazy().select("event_id", "event_type", "event_time", "user_id", "currency", "revenue", "margin"), on="event_id")
    write("outcomes", outcomes.sort("model_id", "request_id", "item_id", "event_time", "event_id"))


def attribute():
    days, currencies = allocate()
    for day in DAYS:
        serve(day, days, currencies)
    credit()


stages, told = Stages(), {"version": pl.__version__}
for stage, work in [("ingest", ingest), ("features", features), ("attribute", attribute)]:
    done = work()
    stages.end(stage)
    told |= {"stages": stages.taken, **({"ingested": done} if done else {})}
    print(json.dumps(told), flush=True)
