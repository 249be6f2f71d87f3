-- Driver run_time: recorded runs by the resource on which they ran, in µs, cut at the full minutes so that a run of many
-- hours counts in each charge period that it overlaps, for as long as it does.
with minutes as (
    select
        resource_id, model_id, model_version, stage, usage_start, usage_end,
        unnest(generate_series(date_trunc('minute', usage_start), usage_end, interval '1 minute')) as minute
    from usage
    where run_id is not null
),
pieces as (
    select
        resource_id, model_id, model_version, stage,
        greatest(minute, usage_start) as period_start,
        least(minute + interval '1 minute', usage_end) as period_end
    from minutes
)
select
    resource_id, period_start, period_end, model_id, model_version, stage,
    cast(date_part('epoch', period_end - period_start) * 1000000 as bigint) as weight
from pieces
where period_start < period_end
