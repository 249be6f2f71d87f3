-- Driver bytes: bytes stored or moved, one row per model × version × stage × interval on each resource that had any.
select
    resource_id,
    usage_start as period_start,
    usage_end as period_end,
    model_id,
    model_version,
    stage,
    coalesce(bytes, 0) as weight
from usage
where resource_id in (select distinct resource_id from usage where bytes > 0)
