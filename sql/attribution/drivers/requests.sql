-- Driver requests: requests answered, one row per model × version × stage × interval on each resource that had any.
with used as (
    select distinct resource_id from usage where requests > 0
)
select
    usage.resource_id,
    usage_start as period_start,
    usage_end as period_end,
    model_id,
    model_version,
    stage,
    coalesce(requests, 0) as weight
from used
join usage on usage.resource_id = used.resource_id
