-- night_inputs: one row per delivery that the features, models and lists of the night were made from.
-- Inputs: deliveries.
-- Of events the days of the window, of items and users the newest snapshot. Only what was delivered by day: a source
-- without {date} holds what had happened by whichever night was run last, and cannot say what an earlier one saw.
with daily as (
    select source, kind, "interval", content_hash, cast(try_cast("interval" as date) as int) as day
    from deliveries
    where status = 'active' and rows_out > 0 and kind in ('events', 'items', 'users')
),
by_then as (
    select
        *,
        cast(cast(as_of() as date) as int) - day as age,
        max(day) over (partition by kind) as newest
    from daily
    where day < cast(cast(as_of() as date) as int)
)
select source, kind, "interval", content_hash, cast(setting('history_days') as int) as history_days
from by_then
where case kind when 'events' then age <= setting('history_days') else day = newest end
