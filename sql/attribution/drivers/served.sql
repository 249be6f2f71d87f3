-- Driver served: recommendations shown, one row per model × version × day, bound to no resource.
select
    cast(null as varchar) as resource_id,
    date_trunc('day', event_time) as period_start,
    date_trunc('day', event_time) + interval '1 day' as period_end,
    model_id,
    model_version,
    'deployment' as stage,
    count(*) as weight
from events
where event_type = 'impression' and model_id is not null
group by date_trunc('day', event_time), model_id, model_version
