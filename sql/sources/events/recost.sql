-- Dialect `recost` of the clickstream → events: one row per event, names and types as in the export.
select
    _row,
    event_id,
    event_time,
    user_id,
    session_id,
    event_type,
    item_id,
    query,
    request_id,
    model_id,
    model_version,
    surface,
    rank,
    compute_ns,
    price,
    quantity,
    currency
from source
