-- The impressions that outcomes are credited to, in any order. Inputs: events.
-- Those without a model are there to say that their request is known; nothing is credited to them.
select
    event_time,
    user_id,
    item_id,
    request_id,
    model_id,
    model_version,
    surface,
    coalesce(rank, 0) as rank
from events
where event_type = 'impression' and request_id is not null and item_id is not null
