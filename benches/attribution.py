#!/usr/bin/env python3
"""A month of attribution at scale, next to the same attribution in DuckDB's decimals, over the same exports, in one run.

    cargo build --release
    python benches/attribution.py [--charges 1000000] [--impressions 10000000] [--memory 2GiB] [--recost PATH] [--keep DIR]

Writes a bill of October 2026 (FOCUS Parquet, hourly and daily rows), telemetry of shared machines and buckets, and the
impressions of 31 days; runs `recost run` without models over it, then the peer below, each in a process of its own, and
prints seconds, CPU seconds and peak memory of both, and seconds of `recost explain`. Every file depends on the sizes
alone. The peer splits in decimals of 12 places: its parts do not add up to the row, have no rule, weight or row behind
them, and it rejects, checks and publishes nothing. It needs the package `duckdb` and GNU `time`.
"""
import argparse, json, pathlib, shutil, sys, tempfile

from measure import binary, run

MODELS = ["home-als", "similar-items", "search", "trending"]

PIPELINE = """name = "Benchmark"
sources = [
  {{ name = "bill", kind = "charges", path = "exports/bill/billing_period={{period}}/*.parquet", dialect = "focus" }},
  {{ name = "telemetry", kind = "usage", path = "exports/usage/ds={{date}}/*.parquet", dialect = "recost" }},
  {{ name = "clicks", kind = "events", path = "exports/events/ds={{date}}/*.parquet", dialect = "recost", required = false }},
]
engine = {{ memory = "{memory}" }}
run = {{ history_days = 31 }}
attribution = {{ known_models = ["home-als", "similar-items", "search", "trending"] }}
report = {{ after_run = false }}
"""

# ---------------------------------------------------------------- exports, each a function of the row's number


def bill(charges):
    """A fifth machine hours, a half tagged rows, the rest buckets, rows without a rule, credits, and one row of tax in a thousand."""
    machines, tagged = max(1, charges * 2 // 10 // 744), max(1, charges // 20)
    return f"""
    with numbered as (select range as i, dice(range, 0) as h, range % 100 as kind from range({charges})),
    placed as (
        select *,
            case when kind < 20 then 'machine' when kind < 70 then 'tagged' when kind < 85 then 'bucket'
                 when kind < 95 then 'other' when i % 1000 = 999 then 'tax' else 'credit' end as what,
            (i // 100) * 20 + kind as n
        from numbered
    )
    select
        timestamp '2026-10-01' + case what when 'machine' then to_hours(cast(n // {machines} % 744 as int)) when 'tax' then to_days(0)
                                           else to_days(cast(h % 31 as int)) end as "ChargePeriodStart",
        timestamp '2026-10-01' + case what when 'machine' then to_hours(cast(n // {machines} % 744 as int) + 1) when 'tax' then to_days(31)
                                           else to_days(cast(h % 31 as int) + 1) end as "ChargePeriodEnd",
        timestamp '2026-10-01' as "BillingPeriodStart", timestamp '2026-11-01' as "BillingPeriodEnd",
        'USD' as "BillingCurrency", 'Northcloud' as "InvoiceIssuerName", 'inv-' || (i % 3) as "InvoiceId",
        'acc-' || (i % 20) as "BillingAccountId",
        case what when 'credit' then 'Credit' when 'tax' then 'Tax' else 'Usage' end as "ChargeCategory",
        case what when 'machine' then 'gpu-' || (n % {machines}) when 'bucket' then 'bucket-' || (h % 200)
                  when 'tax' then null when 'credit' then 'r-' || (h % {tagged}) else 'r-' || (h % {tagged}) end as "ResourceId",
        case what when 'machine' then 'GPU' when 'bucket' then 'Object Storage' else 'Service ' || (h % 40) end as "ServiceName",
        case what when 'machine' then 'Compute' when 'bucket' then 'Storage' else 'Networking' end as "ServiceCategory",
        case when what = 'tagged' then '{{"model": "' || (['home-als', 'similar-items', 'search', 'trending'])[1 + h % 4]
             || '", "stage": "' || (['training', 'deployment', 'operations'])[1 + h % 3] || '", "model_version": "' || h % 7 || '"}}' end as "Tags",
        cast(case when what = 'credit' then -1 else 1 end * cast(h % 100000 as decimal(18, 6)) / 10000 as decimal(18, 6)) as "BilledCost",
        cast(case when what = 'credit' then -1 else 1 end * cast(h % 100000 as decimal(18, 6)) / 10000 as decimal(18, 6)) as "EffectiveCost"
    from placed"""


def telemetry(charges, day):
    """Two models on each machine and hour, four on each bucket and day."""
    machines = max(1, charges * 2 // 10 // 744)
    start = f"timestamp '{day}'"
    return f"""
    select {start} + to_hours(hour) as usage_start, {start} + to_hours(hour + 1) as usage_end, 'gpu-' || m as resource_id,
        (['home-als', 'similar-items', 'search', 'trending'])[1 + (m + k) % 4] as model_id, cast(null as varchar) as model_version,
        (['training', 'deployment'])[1 + k] as stage,
        dice(m * 1000 + hour * 10 + k, '{day}') % 1500000000000 as gpu_ns, cast(null as bigint) as cpu_ns,
        cast(null as bigint) as bytes, cast(null as bigint) as requests, cast(null as bigint) as reserved_ns,
        cast(3600000000000 as bigint) as capacity_ns
    from range({machines}) as ms(m), (select cast(range as int) as hour from range(24)), (select range as k from range(2))
    union all
    select {start}, {start} + to_days(1), 'bucket-' || b, (['home-als', 'similar-items', 'search', 'trending'])[1 + k],
        null, 'operations', null, null, dice(b * 10 + k, '{day}') % 1000000000000, null, null, null
    from range(200) as bs(b), (select range as k from range(4))"""


def events(impressions, day, number):
    """Requests of ten impressions; one in fifty is clicked."""
    each = impressions // 31
    base = number * each
    return f"""
    with shown as (select range + {base} as i, (range + {base}) // 10 as r, range as n from range({each})),
    impressions as (
        select 'e' || lpad(cast(i as varchar), 10, '0') as event_id,
            timestamp '{day}' + to_microseconds(cast(86400000000.0 * n / {each} as bigint)) as event_time,
            'u' || (dice(r, 0) % 1000000) as user_id, 's' || (r // 3) as session_id, 'impression' as event_type,
            'p' || (dice(i, 0) % 200000) as item_id, cast(null as varchar) as query, 'q' || lpad(cast(r as varchar), 9, '0') as request_id,
            (['home-als', 'similar-items', 'search', 'trending'])[1 + dice(r, 1) % 4] as model_id,
            cast(dice(r, 2) % 7 as varchar) as model_version, (['home', 'cart', 'product'])[1 + dice(r, 3) % 3] as surface,
            cast(1 + i % 10 as int) as rank, 1000 + dice(i, 4) % 9000 as compute_ns,
            cast(null as decimal(18, 4)) as price, cast(null as int) as quantity, cast(null as varchar) as currency
        from shown
    )
    select * from impressions
    union all
    select 'c' || event_id[2:], event_time, user_id, session_id, 'click', item_id, query, request_id, model_id, model_version,
        surface, rank, null, price, quantity, currency
    from impressions where dice(event_id, 5) % 50 = 0"""


def exports(work, charges, impressions):
    import duckdb

    db = duckdb.connect(config={"memory_limit": "2GB", "threads": 2, "preserve_insertion_order": True})
    db.execute("create macro dice(value, salt) as cast(hash(value, salt) >> 1 as bigint)")
    folder = work / "exports/bill/billing_period=2026-10"
    folder.mkdir(parents=True)
    part = 1_000_000
    for n, first in enumerate(range(0, charges, part)):
        rows = bill(charges).replace(f"range({charges})", f"range({first}, {min(charges, first + part)})")
        db.execute(f"copy ({rows}) to '{folder}/part-{n:03}.parquet' (compression zstd)")
    for number in range(31):
        day = f"2026-10-{number + 1:02}"
        for kind, sql in [("usage", telemetry(charges, day)), ("events", events(impressions, day, number))]:
            if kind == "events" and impressions == 0:
                continue
            folder = work / f"exports/{kind}/ds={day}"
            folder.mkdir(parents=True)
            db.execute(f"copy ({sql}) to '{folder}/part-0.parquet' (compression zstd)")


# ---------------------------------------------------------------- the peer


def peer(work, impressions):
    """The same rules in SQL over decimals: machines and buckets by telemetry, tags, credits, tax, idle moved on."""
    import duckdb

    out = work / "peer"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    db = duckdb.connect(str(out / "peer.db"), config={"memory_limit": "3GB", "threads": 2, "temp_directory": str(out)})
    amount, share = "decimal(38, 12)", "decimal(18, 12)"
    db.execute(f"""
    create table charges as
    select *, row_number() over () as row_id, cast("ChargePeriodStart" as date) as day,
        json_extract_string("Tags", '$.model') as model, json_extract_string("Tags", '$.model_version') as version,
        json_extract_string("Tags", '$.stage') as stage
    from read_parquet('{work}/exports/bill/*/*.parquet');
    create table usage as select * from read_parquet('{work}/exports/usage/*/*.parquet');
    create table busy as
    select resource_id, usage_start, usage_end, model_id, stage, sum(coalesce(gpu_ns, bytes)) as weight,
        max(capacity_ns) as capacity
    from usage group by all;
    create table shares as
    select *, cast(weight / greatest(total, capacity) as {share}) as part, cast(weight / total as {share}) as of_busy
    from (select *, sum(weight) over (partition by resource_id, usage_start) as total from busy) where total > 0;
    create table first as
    select row_id, day, "ChargeCategory" as kind, "InvoiceId" as invoice, "ResourceId" as resource, "ChargePeriodStart" as start,
        case when model is not null then 'model' when shares.model_id is not null then 'model' else 'unallocated' end as target,
        coalesce(charges.model, shares.model_id) as model, version, coalesce(charges.stage, shares.stage) as stage,
        "ServiceCategory" as category,
        cast("BilledCost" * coalesce(part, 1) as {amount}) as billed, cast("EffectiveCost" * coalesce(part, 1) as {amount}) as effective
    from charges
    left join shares on model is null and shares.resource_id = "ResourceId" and usage_start = "ChargePeriodStart"
    where "ChargeCategory" = 'Usage';
    insert into first
    select row_id, day, 'Usage', "InvoiceId", "ResourceId", "ChargePeriodStart", 'idle', null, null, null, "ServiceCategory",
        cast("BilledCost" * (1 - part) as {amount}), cast("EffectiveCost" * (1 - part) as {amount})
    from charges
    join (select resource_id, usage_start, sum(part) as part from shares group by all) as used
        on used.resource_id = "ResourceId" and usage_start = "ChargePeriodStart"
    where model is null and "ChargeCategory" = 'Usage' and part < 1;
    create table credit_base as
    select resource, target, model, version, stage, effective / sum(effective) over (partition by resource) as part
    from (select resource, target, model, version, stage, sum(effective) as effective from first group by all having sum(effective) > 0);
    insert into first
    select row_id, day, 'Credit', "InvoiceId", "ResourceId", "ChargePeriodStart", coalesce(b.target, 'unallocated'), b.model,
        b.version, b.stage, "ServiceCategory", cast("BilledCost" * cast(coalesce(part, 1) as {share}) as {amount}),
        cast("EffectiveCost" * cast(coalesce(part, 1) as {share}) as {amount})
    from charges left join credit_base as b on b.resource = "ResourceId"
    where "ChargeCategory" = 'Credit';
    create table tax_base as
    select invoice, target, model, version, stage, effective / sum(effective) over (partition by invoice) as part
    from (select invoice, target, model, version, stage, sum(effective) as effective from first group by all having sum(effective) > 0);
    insert into first
    select row_id, day, 'Tax', "InvoiceId", "ResourceId", "ChargePeriodStart", b.target, b.model, b.version, b.stage, 'other',
        cast("BilledCost" * cast(part as {share}) as {amount}), cast("EffectiveCost" * cast(part as {share}) as {amount})
    from charges join tax_base as b on b.invoice = "InvoiceId"
    where "ChargeCategory" = 'Tax';
    create table moved as
    select i.row_id, i.day, 'Usage' as kind, i.resource, i.start, 'model' as target, s.model_id as model, s.stage, i.category,
        cast(i.billed * s.of_busy as {amount}) as billed, cast(i.effective * s.of_busy as {amount}) as effective
    from first as i join shares as s on s.resource_id = i.resource and s.usage_start = i.start
    where i.target = 'idle' and i.kind = 'Usage';
    copy (select * from first order by row_id) to '{out}/allocations.parquet' (compression zstd);
    copy (select * from moved order by row_id) to '{out}/moved.parquet' (compression zstd);
    create table days as
    select day, model, version, sum(effective) as full_cost,
        sum(effective) filter (where kind <> 'Tax' and stage in ('deployment', 'operations')) as run_cost
    from (select day, model, version, stage, kind, effective from first where target = 'model'
          union all select day, model, null, stage, kind, effective from moved)
    group by all;
    copy days to '{out}/model_days.parquet' (compression zstd);
    """)
    for number in range(31 if impressions else 0):
        day = f"2026-10-{number + 1:02}"
        db.execute(f"""
        copy (
            with served as (
                select distinct on (model_id, request_id, item_id) model_id, model_version, request_id, item_id, rank, surface, compute_ns
                from read_parquet('{work}/exports/events/ds={day}/*.parquet') where event_type = 'impression'
            ),
            weighed as (
                select *, compute_ns / sum(compute_ns) over (partition by model_id, model_version) as of_version,
                    compute_ns / sum(compute_ns) over (partition by model_id) as of_model
                from served
            )
            select w.*,
                cast(coalesce(v.run_cost, 0) * cast(of_version as {share}) + coalesce(c.run_cost, 0) * cast(of_model as {share}) as {amount}) as run_cost,
                cast(coalesce(v.full_cost, 0) * cast(of_version as {share}) + coalesce(c.full_cost, 0) * cast(of_model as {share}) as {amount}) as full_cost
            from weighed as w
            left join days as v on v.day = date '{day}' and v.model = w.model_id and v.version = w.model_version
            left join days as c on c.day = date '{day}' and c.model = w.model_id and c.version is null
        ) to '{out}/recommendation_costs-{day}.parquet' (compression zstd)""")
    rows = db.execute("select count(*) from first").fetchone()[0] + db.execute("select count(*) from moved").fetchone()[0]
    print(json.dumps({"allocations": rows}))


# ---------------------------------------------------------------- both, one after the other


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--charges", type=int, default=1_000_000)
    ap.add_argument("--impressions", type=int, default=10_000_000)
    ap.add_argument("--memory", default="2GiB", help="of [engine]; the process has more beside it")
    ap.add_argument("--recost", default="target/release/recost")
    ap.add_argument("--keep", help="folder to work in; exports that lie there are taken as they are")
    ap.add_argument("--no-peer", action="store_true")
    ap.add_argument("--peer", help=argparse.SUPPRESS)
    a = ap.parse_args()
    if a.peer:
        return peer(pathlib.Path(a.peer), a.impressions)
    recost = binary(a.recost)
    work = pathlib.Path(a.keep or tempfile.mkdtemp(prefix="attribution-")).resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "exports").exists():
        exports(work, a.charges, a.impressions)
    (work / "pipeline.toml").write_text(PIPELINE.format(memory=a.memory))
    shutil.rmtree(work / "warehouse", ignore_errors=True)

    print(f"{a.charges} charges, {a.impressions} impressions, engine memory {a.memory}")
    print(f"{'':<24}{'wall s':>10}{'CPU s':>10}{'peak MiB':>10}")
    line = lambda name, wall, cpu, peak: print(f"{name:<24}{wall:>10.2f}{cpu:>10.2f}{peak:>10.0f}", flush=True)
    ours = run([recost, "run", "pipeline.toml", "--date", "2026-10-31", "--device", "cpu"], work).figures()
    line("recost run", *ours)
    query = "select stage, round(seconds, 2), round(cpu_seconds, 2), rows, message from runs where stage <> 'run' order by started_at"
    stages = run([recost, "sql", "pipeline.toml", query, "--format", "csv"], work).out
    print("\n".join("  " + row for row in stages.splitlines()[1:]), flush=True)
    one = run([recost, "sql", "pipeline.toml", "select row_id from charges where resource_id = 'gpu-0' limit 1", "--format", "csv"], work).out
    id = one.splitlines()[1]
    for name, arguments in [("explain CHARGE", [id]), ("explain MODEL", ["search"]), ("explain MODEL --stage", ["search", "--stage", "training"])]:
        took = run([recost, "explain", "pipeline.toml", *arguments], work).figures()
        line(name, *took)
    if not a.no_peer:
        theirs = run([sys.executable, __file__, "--peer", str(work), "--impressions", str(a.impressions)], work).figures()
        line("DuckDB, decimals", *theirs)
        print(f"{'peer / recost':<24}" + "".join(f"{t / o:>10.2f}" for o, t in zip(ours, theirs)))
    if not a.keep:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
