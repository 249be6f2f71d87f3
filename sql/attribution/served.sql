-- The recommendations that were shown, in the order in which recommendation_costs divides each model's day.
-- Inputs: events. It is read day by day, by event_time. A retry shows the same item in the same request again; it follows
-- its first showing here and is left out of the table.
select
    event_time,
    model_id,
    model_version,
    request_id,
    item_id,
    coalesce(rank, 0) as rank,
    surface,
    compute_ns
from events
where event_type = 'impression' and model_id is not null and request_id is not null
order by model_id, request_id, item_id, event_time, rank, model_version, surface, compute_ns
