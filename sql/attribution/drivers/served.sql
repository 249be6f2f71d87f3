-- Driver served: recommendations shown, one row per model × version × day, bound to no resource.
-- A retry shows the same item in the same request again and counts once; without a request every impression counts.
with shown as (
    select distinct
        date_trunc('day', event_time) as day,
        model_id,
        model_version,
        coalesce(request_id, event_id) as request,
        item_id
    from events
    where event_type = 'impression' and model_id is not null
)
select
    cast(null as varchar) as resource_id,
    day as period_start,
    day + interval '1 day' as period_end,
    model_id,
    model_version,
    'deployment' as stage,
    count(*) as weight
from shown
group by day, model_id, model_version
