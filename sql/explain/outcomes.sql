-- What recommendations brought: one row per click or purchase that is credited to them. Who clicked is left out.
-- Inputs: outcomes (of the recommendations asked for).
select
    request_id, rank, item_id, model_id, event_type, event_time, credited_by, currency, revenue, margin
from outcomes
order by request_id, rank, item_id, event_time, event_id
