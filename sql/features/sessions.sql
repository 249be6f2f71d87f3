-- sessions: one row per user × visit in the window.
-- Inputs: events (the window, nothing at or after as_of()).
-- Divided by: user_id.
-- A visit is the export's session; where the export names none, it ends after setting('session_gap_minutes') without
-- an event. Invariant: every event belongs to exactly one visit, so Σ events = rows of events.
with gaps as (
    select
        user_id,
        event_time,
        event_type,
        case
            when date_part('epoch', event_time)
                - lag(date_part('epoch', event_time)) over (partition by user_id order by event_time)
                <= 60 * setting('session_gap_minutes')
            then 0
            else 1
        end as starts
    from events
    where session_id is null
),
visits as (
    select user_id, session_id, event_time, event_type
    from events
    where session_id is not null
    union all
    select
        user_id,
        'gap-' || cast(sum(starts) over (partition by user_id order by event_time) as varchar) as session_id,
        event_time,
        event_type
    from gaps
)
select
    user_id,
    session_id,
    min(event_time) as session_start,
    max(event_time) as session_end,
    count(*) as events,
    count(*) filter (where event_type = 'view') as views,
    count(*) filter (where event_type = 'search') as searches,
    count(*) filter (where event_type = 'click') as clicks,
    count(*) filter (where event_type = 'cart') as carts,
    count(*) filter (where event_type = 'purchase') as purchases
from visits
group by user_id, session_id
