"""The work of ingest, features and attribution in DuckDB, over the exports of `recost generate`.

Written as its users would: no row leaves SQL, the few repeated keys are found by their hashes before anything is written, and
what goes by day goes day by day, a day on each thread: one statement for all days takes half as long again and five times
the memory. Money is split in whole units of 10⁻¹⁸ or by
`decimal_division`, each part rounded by itself: no largest remainder. Not asked of it: lineage, hashes of deliveries, checks
after writing, an atomic publish, the roll-forward of what versions cost to make, unit costs.
"""
import argparse, datetime, json, pathlib, sys
from concurrent.futures import ThreadPoolExecutor

sys.path.append(str(pathlib.Path(__file__).parent.parent))
import duckdb
from measure import Stages

ap = argparse.ArgumentParser()
ap.add_argument("--exports", required=True)
ap.add_argument("--out", required=True)
ap.add_argument("--last", required=True, help="the night, YYYY-MM-DD")
ap.add_argument("--days", type=int, required=True)
ap.add_argument("--memory", help="memory_limit, such as 512MiB; none by default")
ap.add_argument("--threads", type=int, required=True)
a = ap.parse_args()
out = pathlib.Path(a.out).resolve()
out.mkdir(parents=True)
db = duckdb.connect(config={"threads": a.threads, "temp_directory": str(out / "spill"), "preserve_insertion_order": False})
db.execute("set TimeZone = 'UTC'")
if a.memory:
    db.execute(f"set memory_limit = '{a.memory}'")
as_of = f"(timestamptz '{a.last} 00:00:00+00' + interval 1 day)"
WRITE = "format parquet, compression zstd, compression_level 1, row_group_size 262144"
ITEM_TYPES = "('view', 'impression', 'click', 'cart', 'purchase')"


def source(kind, day="*"):
    """The files of a kind, with the day that each is for and each row's place."""
    options = "hive_partitioning = true, hive_types = {'ds': date}, filename = true, file_row_number = true, union_by_name = true"
    return f"read_parquet('{a.exports}/{kind}/ds={day}/*.parquet', {options})"


def table(name):
    days = ", hive_partitioning = true, hive_types = {'ds': date}" if list((out / name).glob("ds=*")) else ""
    return f"read_parquet('{out}/{name}/**/*.parquet'{days})"


def write(name, sql, day=None, on=db):
    """Writes the result of a query as a table or a day of it; gives its rows."""
    to = out / name / f"ds={day}" if day else out / name
    to.mkdir(parents=True)
    return on.execute(f"copy ({sql}) to '{to}/part-0.parquet' ({WRITE})").fetchone()[0]


def each_day(work):
    """Does work for every day, as many at once as there are threads, each with a connection of its own."""
    last = datetime.date.fromisoformat(a.last)
    days = [str(last - datetime.timedelta(before)) for before in range(a.days - 1, -1, -1)]
    with ThreadPoolExecutor(a.threads) as pool:
        return list(pool.map(lambda day: work(db.cursor(), day), days))


# ---------------------------------------------------------------- ingest

plausible = lambda c: f"({c} is null or ({c} >= timestamptz '2000-01-01 00:00:00+00' and {c} < timestamptz '2100-01-01 00:00:00+00'))"
least = lambda c, n: f"({c} is null or {c} >= {n})"
currency = lambda c: f"({c} is null or regexp_full_match({c}, '[A-Z]{{3}}'))"
RIGHT = {
    "events": [
        "event_id is not null and event_time is not null and user_id is not null and event_type is not null",
        plausible("event_time"),
        "event_time < cast(ds as timestamptz) + interval 2 day",
        f"(event_type in {ITEM_TYPES} and item_id is not null or event_type = 'search')",
        least("rank", 1), least("compute_ns", 0), least("price", 0), least("quantity", 1), currency("currency"),
    ],
    "items": ["item_id is not null", least("price", 0), least("unit_cost", 0), currency("currency"), plausible("created_at")],
    "users": ["user_id is not null"],
    "usage": [
        "usage_start is not null and resource_id is not null and model_id is not null and stage is not null",
        plausible("usage_start"), plausible("usage_end"), "usage_end > usage_start",
        "stage in ('development', 'training', 'deployment', 'operations', 'upgrade')",
        *[least(c, 0) for c in ["gpu_ns", "cpu_ns", "bytes", "requests", "reserved_ns", "capacity_ns"]],
    ],
}  # fmt: skip
KEY = {"events": "hash(event_id)", "items": "hash(item_id, ds)", "users": "hash(user_id, ds)"}
SCOPED = {"events": "event_id", "items": "item_id, ds", "users": "user_id, ds"}


def ingest():
    """Writes the sources as tables; gives rows read, written, repeated and rejected of each."""
    told = {}
    for kind, rules in RIGHT.items():
        right = " and ".join(rules)
        repeated = dropped = 0
        if kind in KEY:
            db.execute(f"create or replace table repeated as select {KEY[kind]} as key from {source(kind)} group by key having count(*) > 1")
            repeated = db.execute("select count(*) from repeated").fetchone()[0]
        if repeated:
            again = f"select * from {source(kind)} where {right} and {KEY[kind]} in (select key from repeated)"
            db.execute(f"""create or replace table held as select *, row_number() over (
                partition by {SCOPED[kind]} order by ds, filename, file_row_number) as place from ({again})""")
            dropped = db.execute("select count(*) from held where place > 1").fetchone()[0]

        def one(on, day):
            sql = f"select * exclude (ds, filename, file_row_number) from {source(kind, day)} where {right}"
            if repeated:
                sql += f""" and {KEY[kind]} not in (select key from repeated) union all by name
                    select * exclude (ds, filename, file_row_number, place) from held where place = 1 and ds = date '{day}'"""
            return write(kind, sql, day, on)

        written = sum(each_day(one))
        files = f"parquet_file_metadata('{a.exports}/{kind}/ds=*/*.parquet')"
        read = int(db.execute(f"select sum(num_rows) from {files}").fetchone()[0])
        told[kind] = {"read": read, "written": written, "repeated": dropped, "rejected": read - written - dropped}
    bills = [f"{a.exports}/billing/*/*/*.parquet", f"{a.exports}/ledger/*/*.parquet"]
    write("charges", f"""
        select row_number() over () as row_id, *, cast("ChargePeriodStart" as date) as day,
            map_from_entries(list_transform(map_entries(cast(cast(coalesce("Tags", '{{}}') as json) as map(varchar, varchar))),
                lambda e: {{'k': lower(trim(e.key)), 'v': trim(e.value)}})) as tag
        from read_parquet({bills}, union_by_name = true, hive_partitioning = false)
        where "BilledCost" is not null and "EffectiveCost" is not null and "ChargeCategory" is not null
            and "ChargePeriodStart" < "ChargePeriodEnd" and regexp_full_match("BillingCurrency", '[A-Z]{{3}}')""")  # fmt: skip
    return told


# ---------------------------------------------------------------- features


def features():
    counts = lambda *names: ", ".join(f"count(*) filter (where event_type = '{n}') as {p}" for n, p in names)
    view, search, shown = ("view", "views"), ("search", "searches"), ("impression", "impressions")
    click, cart, purchase = ("click", "clicks"), ("cart", "carts"), ("purchase", "purchases")
    db.execute(f"""
    create view events as select * from {table("events")} where event_time < {as_of};
    create view items as select * from {table("items")} where ds = date '{a.last}';
    create view users as select * from {table("users")} where ds = date '{a.last}';""")
    write("interactions", f"""
        with weighed as (
            select *, case event_type when 'view' then 1 when 'click' then 2 when 'cart' then 4 else 8 end
                * exp(-0.6931471805599453 * (epoch({as_of}) - epoch(event_time)) / (86400 * 30.0)) as weight
            from events where event_type in ('view', 'click', 'cart', 'purchase') and item_id is not null
        )
        select user_id, item_id, sum(cast(round(weight * 1e12) as bigint)) / 1e12 as weight, count(*) as events,
            bool_or(event_type = 'purchase') as bought, max(event_time) as last_time
        from weighed group by user_id, item_id having sum(cast(round(weight * 1e12) as bigint)) > 0
        order by user_id, item_id""")
    write("sessions", f"""
        with gaps as (
            select user_id, event_time, event_type,
                case when epoch(event_time) - lag(epoch(event_time)) over (partition by user_id order by event_time) <= 1800
                    then 0 else 1 end as starts
            from events where session_id is null
        ),
        visits as (
            select user_id, session_id, event_time, event_type from events where session_id is not null
            union all
            select user_id, 'gap-' || cast(sum(starts) over (partition by user_id order by event_time) as varchar), event_time, event_type
            from gaps
        )
        select user_id, session_id, min(event_time) as session_start, max(event_time) as session_end, count(*) as events,
            {counts(view, search, click, cart, purchase)}
        from visits group by user_id, session_id order by user_id, session_start""")
    db.execute(f"create view interactions as select * from {table('interactions')}; create view sessions as select * from {table('sessions')}")
    write("item_features", f"""
        with counted as (
            select item_id, {counts(view, shown, click, cart, purchase)}, max(event_time) as last_time
            from events where item_id is not null group by item_id
        ),
        reach as (select item_id, count(*) as users from interactions group by item_id),
        banded as (
            select item_id, cast(ntile(4) over (partition by category, currency order by price, item_id) as int) as price_band
            from items where price is not null
        )
        select coalesce(counted.item_id, items.item_id) as item_id, coalesce(users, 0) as users, coalesce(views, 0) as views,
            coalesce(impressions, 0) as impressions, coalesce(clicks, 0) as clicks, coalesce(carts, 0) as carts,
            coalesce(purchases, 0) as purchases, (epoch({as_of}) - epoch(last_time)) / 86400 as recency_days,
            cast(purchases as double) / nullif(views, 0) as conversion, cast(clicks as double) / nullif(impressions, 0) as click_rate,
            price_band, category, brand, items.item_id is not null as in_catalogue
        from counted
        full join items on items.item_id = counted.item_id
        left join reach on reach.item_id = coalesce(counted.item_id, items.item_id)
        left join banded on banded.item_id = items.item_id
        order by item_id""")
    write("user_features", f"""
        with counted as (
            select user_id, count(*) as events, {counts(view, search, shown, click, cart, purchase)}, max(event_time) as last_time
            from events group by user_id
        ),
        visits as (select user_id, count(*) as sessions, count(*) filter (where purchases > 0) as bought from sessions group by user_id),
        spent as (
            select user_id, currency, sum(cast(price * quantity as decimal(38, 4))) as spend,
                row_number() over (partition by user_id order by count(*) desc, currency) as place
            from events where event_type = 'purchase' and price is not null and quantity is not null and currency is not null
            group by user_id, currency
        ),
        seen as (
            select user_id, currency, avg(price) as mean_price,
                row_number() over (partition by user_id order by count(*) desc, currency) as place
            from events where event_type in ('view', 'click', 'cart', 'purchase') and price is not null
            group by user_id, currency
        ),
        banded as (
            select user_id, cast(ntile(4) over (partition by currency order by mean_price, user_id) as int) as price_band
            from seen where place = 1
        )
        select counted.user_id, events, coalesce(sessions, 0) as sessions, views, searches, impressions, clicks, carts, purchases,
            cast(spend as decimal(38, 18)) as spend, spent.currency, (epoch({as_of}) - epoch(last_time)) / 86400 as recency_days,
            cast(bought as double) / nullif(sessions, 0) as conversion, price_band, users.country, users.tags
        from counted
        left join visits on visits.user_id = counted.user_id
        left join spent on spent.user_id = counted.user_id and spent.place = 1
        left join banded on banded.user_id = counted.user_id
        left join users on users.user_id = counted.user_id
        order by counted.user_id""")


# ---------------------------------------------------------------- attribution

TARGET = "target, model_id, model_version, stage"


def allocate():
    """Charges to models, idle and unallocated; tax after them, and idle moved on to who was busy."""
    db.execute(f"""
    create macro units(x) as cast(replace(cast(cast(x as decimal(38, 18)) as varchar), '.', '') as hugeint);
    create macro money(n) as cast(cast(n as decimal(38, 0)) * cast(0.000000000000000001 as decimal(18, 18)) as decimal(38, 18));
    create temp table charge as
    select row_id, day, lower("ChargeCategory") as kind, "BillingCurrency" as currency, "InvoiceId" as invoice, "ResourceId" as resource,
        "ChargePeriodStart" as begins, "ChargePeriodEnd" as ends, tag['model'] as model_id, tag['model_version'] as model_version,
        coalesce(lower(tag['stage']), 'operations') as stage, "CommitmentDiscountStatus" = 'Unused' as unused,
        units("BilledCost") as billed, units("EffectiveCost") as effective
    from {table("charges")};
    create temp table drivers as
    with used as (select * from {table("usage")}),
    measured as (
        select 1 as place, 'gpu_ns' as driver, *, coalesce(gpu_ns, 0) as amount from used where resource_id in (select resource_id from used where gpu_ns > 0)
        union all select 2, 'cpu_ns', *, coalesce(cpu_ns, 0) from used where resource_id in (select resource_id from used where cpu_ns > 0)
        union all select 3, 'bytes', *, coalesce(bytes, 0) from used where resource_id in (select resource_id from used where bytes > 0)
        union all select 4, 'requests', *, coalesce(requests, 0) from used where resource_id in (select resource_id from used where requests > 0)
    )
    select place, driver, resource_id, usage_start, model_id, model_version, stage,
        case when place < 3 then greatest(amount, coalesce(reserved_ns, 0)) else amount end as weight,
        case when place < 3 then coalesce(capacity_ns, 0) else 0 end as capacity
    from measured;
    create temp table measured as
    select c.row_id, d.* from charge as c join drivers as d on d.resource_id = c.resource and usage_start >= begins and usage_start < ends
    where kind not in ('tax', 'credit') and not coalesce(unused, false) and c.model_id is null;
    -- The first driver that has anything to say of the charge's period decides, be it that all was idle.
    create temp table chosen as select row_id, min(place) as place from measured group by all;
    create temp table busy as
    select row_id, driver, model_id, model_version, stage, sum(weight) as weight
    from measured join chosen using (row_id, place) group by all having sum(weight) > 0;
    create temp table split as
    with idle as (
        select row_id, driver, sum(greatest(capacity - weight, 0)) as weight
        from (select row_id, driver, usage_start, max(capacity) as capacity, sum(weight) as weight
              from measured join chosen using (row_id, place) group by all)
        group by all having sum(greatest(capacity - weight, 0)) > 0
    ),
    targets as (
        select row_id, driver, 'model' as target, model_id, model_version, stage, weight from busy
        union all select row_id, driver, 'idle', null, null, null, weight from idle
    )
    select *, sum(weight) over (partition by row_id) as total from targets;
    create temp table first as
    select row_id, day, kind, currency, invoice, resource, 'usage' as basis, coalesce(s.target, case when unused then 'idle' when c.model_id is not null then 'model' else 'unallocated' end) as target,
        coalesce(s.model_id, case when not coalesce(unused, false) then c.model_id end) as model_id,
        coalesce(s.model_version, case when not coalesce(unused, false) and c.model_id is not null then c.model_version end) as model_version,
        case when s.row_id is not null then s.stage when c.model_id is not null and not coalesce(unused, false) then c.stage end as stage, driver,
        billed * coalesce(weight, 1) // coalesce(total, 1) as billed, effective * coalesce(weight, 1) // coalesce(total, 1) as effective
    from charge as c left join split as s using (row_id) where kind <> 'tax';
    -- Units of 10⁻¹² are weight enough: those of 10⁻¹⁸, times an amount, leave 128 bits.
    create temp table taxed as
    with base as (
        select currency, invoice, {TARGET}, row_id_of_pool, sum(effective) // 1000000 as weight
        from (select *, case when target = 'idle' and driver is not null then 'machines' end as row_id_of_pool from first)
        group by all having sum(effective) > 0
    )
    select c.row_id, c.day, c.kind, c.currency, c.invoice, c.resource, 'usage' as basis, {", ".join("b." + c for c in TARGET.split(", "))}, row_id_of_pool as driver,
        billed * weight // total as billed, effective * weight // total as effective
    from charge as c join (select *, sum(weight) over (partition by currency, invoice) as total from base) as b
        on b.currency = c.currency and b.invoice = c.invoice
    where c.kind = 'tax';
    -- Tax on the idle of an invoice's machines belongs to each of them by its own idle, and moves on with it.
    create temp table pools as
    with own as (select * from first where target = 'idle' and driver is not null)
    select o.row_id, o.day, o.currency, o.billed, o.effective, 'own' as part from own as o
    union all
    select o.row_id, t.day, o.currency, t.billed * (o.effective // 1000000) // o.total, t.effective * (o.effective // 1000000) // o.total, 'tax'
    from (select *, sum(effective // 1000000) over (partition by currency, invoice) as total from own where effective > 0) as o
    join taxed as t on t.currency = o.currency and t.invoice = o.invoice and t.driver = 'machines';
    create temp table moved as
    select p.row_id, p.day, p.currency, 'model' as target, b.model_id, b.model_version, b.stage,
        p.billed * b.weight // total as billed, p.effective * b.weight // total as effective
    from pools as p join (select *, sum(weight) over (partition by row_id) as total from busy) as b using (row_id)
    union all
    select row_id, day, currency, 'idle', null, null, null, -billed, -effective from pools where row_id in (select row_id from busy);
    """)
    write("allocations", f"""
        select row_id, day, kind, currency, basis, {TARGET}, driver, money(billed) as billed, money(effective) as effective from first
        union all select row_id, day, kind, currency, basis, {TARGET}, driver, money(billed), money(effective) from taxed
        union all select row_id, day, 'usage', currency, 'allocation', {TARGET}, null, money(billed), money(effective) from moved
        order by row_id, target, model_id, stage""")
    db.execute(f"""
    create table model_days as
    select day, model_id, model_version, currency, coalesce(sum(effective) filter (where basis = 'usage' and kind <> 'tax'), 0) as run_cost,
        coalesce(sum(effective) filter (where basis = 'allocation' or kind = 'tax'), 0) as overhead
    from {table("allocations")}
    where target = 'model' and stage not in ('development', 'training', 'upgrade')
    group by all;
    create table currencies as select distinct model_id, currency from {table("allocations")} where target = 'model'""")


def serve(on, day):
    """What was shown on a day, each recommendation once, with its share of its model's day."""
    on.execute(f"""
    create or replace temp table shown as
    select model_id, model_version, request_id, item_id, coalesce(rank, 0) as rank, surface, compute_ns, event_time
    from events where event_type = 'impression' and model_id is not null and request_id is not null
        and event_time >= timestamptz '{day} 00:00:00+00' and event_time < timestamptz '{day} 00:00:00+00' + interval 1 day""")
    key = "hash(model_id, request_id, item_id)"
    on.execute(f"create or replace temp table twice as select {key} as key from shown group by key having count(*) > 1")
    served = "shown"
    if on.execute("select count(*) from twice").fetchone()[0]:
        served = f"""(select * from shown where {key} not in (select key from twice) union all by name
            (select distinct on (model_id, request_id, item_id) * from shown where {key} in (select key from twice)
            order by event_time, rank, model_version, surface, compute_ns))"""
    on.execute(f"""
    create or replace temp table of_version as
    select model_id, model_version, count(*) as n, sum(compute_ns) as ns, count(compute_ns) = count(*) and min(compute_ns) > 0 as timed
    from {served} group by all;
    create or replace temp table of_model as
    select model_id, sum(n) as n, sum(ns) as ns, bool_and(timed) as timed from of_version group by all;
    create or replace temp table divided as
    with named as (
        select v.model_id, v.model_version, c.currency, coalesce(d.run_cost, 0) as run_cost, coalesce(d.overhead, 0) as overhead, v.n, v.ns, v.timed
        from of_version as v join currencies as c using (model_id)
        left join model_days as d on d.day = date '{day}' and d.model_id = v.model_id and d.model_version = v.model_version and d.currency = c.currency
    ),
    others as (
        select d.model_id, d.currency, sum(d.run_cost) as run_cost, sum(d.overhead) as overhead
        from model_days as d anti join of_version as v on v.model_id = d.model_id and v.model_version = d.model_version
        where d.day = date '{day}' group by all
    )
    select named.*, coalesce(o.run_cost, 0) as other_run, coalesce(o.overhead, 0) as other_overhead, m.n as m_n, m.ns as m_ns, m.timed as m_timed
    from named join of_model as m using (model_id) left join others as o using (model_id, currency)""")
    share = lambda cost, prefix: f"""decimal_division(cast({cost} as decimal(26, 18)) * cast(case when d.{prefix}timed then s.compute_ns else 1 end as decimal(11, 0)),
        cast(case when d.{prefix}timed then d.{prefix}ns else d.{prefix}n end as decimal(20, 0)), 18)"""
    part = lambda cost, other: f"cast({share('d.' + cost, '')} + {share('d.' + other, 'm_')} as decimal(38, 18))"
    write("recommendation_costs", f"""
        select s.request_id, s.rank, s.item_id, s.model_id, s.model_version, s.surface, d.currency, s.compute_ns,
            {part("run_cost", "other_run")} as run_cost, {part("overhead", "other_overhead")} as overhead_cost
        from {served} as s join divided as d on d.model_id = s.model_id and d.model_version is not distinct from s.model_version
        order by s.model_id, d.currency, s.request_id, s.item_id""", day, on)
    write("served_days", f"""
        select model_id, model_version, surface, count(*) as served, count(distinct request_id) as requests
        from {served} group by all order by all""", day, on)


def credit():
    """Clicks and purchases, each credited to the impression of its request, else to the last one to the user within a day."""
    shown = "event_time, user_id, item_id, request_id, model_id, model_version, surface, coalesce(rank, 0) as rank"
    db.execute(f"""
    create temp table candidates as
    select e.event_id, e.event_type, e.event_time, e.user_id, e.item_id, e.request_id, e.currency,
        case when event_type = 'purchase' then cast(cast(e.price as decimal(28, 8)) * e.quantity as decimal(38, 18)) end as revenue,
        case when event_type = 'purchase' then cast(cast(e.price - i.unit_cost as decimal(28, 8)) * e.quantity as decimal(38, 18)) end as margin
    from events as e left join items as i on i.item_id = e.item_id and i.currency = e.currency
    where event_type in ('click', 'purchase') and e.item_id is not null;
    create temp view impressions as
    select {shown} from events where event_type = 'impression' and request_id is not null and item_id is not null;
    create temp table touches as
    select c.event_id, 0 as how, i.* exclude (user_id), c.event_time as acted
    from candidates as c join impressions as i on i.request_id = c.request_id and i.item_id = c.item_id where i.model_id is not null;
    create temp table open as
    select * from candidates where event_id not in (select event_id from touches)
        and (request_id is null or request_id not in (select i.request_id from impressions as i where i.request_id in (select request_id from candidates)));
    insert into touches
    select c.event_id, 1, i.* exclude (user_id), c.event_time
    from open as c join impressions as i on i.user_id = c.user_id and i.item_id = c.item_id
        and i.event_time <= c.event_time and i.event_time >= c.event_time - interval 24 hour where i.model_id is not null;
    create temp table best as
    select distinct on (event_id) * from touches
    order by event_id, event_time > acted, abs(epoch_us(event_time) - epoch_us(acted)), rank, model_id, model_version, surface, request_id""")
    write("outcomes", f"""
        select cast(b.event_time as date) as ds, c.event_id, c.event_type, c.event_time, c.user_id, c.item_id,
            case b.how when 0 then 'request' else 'last_touch' end as credited_by, b.event_time as impression_time, b.request_id, b.rank,
            b.model_id, r.model_version, r.surface, c.currency, c.revenue, c.margin
        from best as b join candidates as c using (event_id)
        join (select distinct ds, model_id, request_id, item_id, model_version, surface from {table("recommendation_costs")}) as r
            on r.ds = cast(b.event_time as date) and r.model_id = b.model_id and r.request_id = b.request_id and r.item_id = b.item_id
        order by b.model_id, b.request_id, c.item_id, c.event_time, c.event_id""")


def attribute():
    allocate()
    each_day(serve)
    credit()


stages = Stages()
told = ingest()
stages.end("ingest")
print(json.dumps({"stages": stages.taken}), flush=True)
features()
stages.end("features")
print(json.dumps({"stages": stages.taken}), flush=True)
attribute()
stages.end("attribute")
print(json.dumps({"version": duckdb.__version__, "stages": stages.taken, "ingested": told}))
