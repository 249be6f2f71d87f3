-- Driver cpu_ns: cpu time, one row per model × version × stage × interval on each resource that used any.
-- A driver gives resource_id (null: any resource), period_start, period_end, model_id, model_version, stage, weight and,
-- for machines, reserved and capacity, all in one unit (here ns).
with used as (
    select distinct resource_id from usage where cpu_ns > 0
)
select
    usage.resource_id,
    usage_start as period_start,
    usage_end as period_end,
    model_id,
    model_version,
    stage,
    coalesce(cpu_ns, 0) as weight,
    reserved_ns as reserved,
    capacity_ns as capacity
from used
join usage on usage.resource_id = used.resource_id
