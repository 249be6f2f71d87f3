-- One row per currency × machine: what of its cost was used. A machine is a resource whose cost was split with idle as a
-- part, or by measured computing time. An unused commitment is none. Inputs: allocations, charges (the report's billing periods).
-- The fifty dearest of each currency have a row of their own, all others share one (machines > 1, resource_id null).
-- Allocations are added up by row first: a set of the rows of each machine would have to fit the memory.
with parts as (
    select
        row_id,
        currency,
        coalesce(sum(effective) filter (where target = 'model'), 0) as used,
        coalesce(sum(effective) filter (where target = 'idle'), 0) as idle,
        coalesce(sum(effective) filter (where target = 'unallocated'), 0) as unallocated,
        sum(effective) as effective,
        bool_or(driver is not null and (target = 'idle' or driver in ('gpu_ns', 'cpu_ns'))) as shared
    from allocations
    where basis = 'usage'
    group by row_id, currency
),
machines as (
    select
        parts.currency,
        resource_id,
        count(*) as rows,
        sum(used) as used,
        sum(idle) as idle,
        sum(unallocated) as unallocated,
        sum(effective) as effective
    from parts
    join charges on charges.row_id = parts.row_id
    where resource_id is not null
    group by parts.currency, resource_id
    having bool_or(shared)
),
ranked as (
    select *, row_number() over (partition by currency order by effective desc, resource_id) <= 50 as dearest
    from machines
),
named as (
    select *, case when dearest then resource_id end as name from ranked
)
select
    currency,
    name as resource_id,
    count(*) as machines,
    sum(rows) as rows,
    sum(used) as used,
    sum(idle) as idle,
    sum(unallocated) as unallocated,
    sum(effective) as effective
from named
group by currency, name
order by currency, name is null, effective desc, resource_id
