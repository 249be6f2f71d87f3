-- night_inputs: one row per delivery that the features, models and lists of the night were made from.
-- Inputs: deliveries.
-- Of events the days of the window, and of the days after it those of which events came late, by no more than is allowed; of
-- items and users the newest snapshot. Only what was delivered by day: a source without {date} holds what had happened by
-- whichever night was run last, and cannot say what an earlier one saw.
with daily as (
    select
        source,
        kind,
        "interval",
        content_hash,
        cast(try_cast("interval" as date) as int) as day,
        -- The first day after the night.
        cast(cast(as_of() as date) as int) as after,
        -- What was read before these days were noted may have events of the night's own.
        coalesce(late_days, [cast(cast(as_of() - interval '1 day' as date) as varchar)]) as late_days,
        rows_late
    from deliveries
    where status = 'active' and rows_out > 0 and kind in ('events', 'items', 'users')
),
by_then as (
    select source, kind, "interval", content_hash, after - day as age, day, max(day) over (partition by kind) as newest
    from daily
    where day < after
),
late as (
    select distinct source, kind, "interval", content_hash
    from (
        select source, kind, "interval", content_hash, day, after, cast(cast(unnest(late_days) as date) as int) as happened
        from daily
        where kind = 'events' and rows_late > 0 and day >= after and day < after + setting('lateness_days')
    )
    where happened < after and day - happened <= setting('lateness_days')
)
select
    source,
    kind,
    "interval",
    content_hash,
    cast(setting('history_days') as int) as history_days,
    cast(setting('lateness_days') as int) as lateness_days
from (
    select source, kind, "interval", content_hash
    from by_then
    where case kind when 'events' then age <= setting('history_days') else day = newest end
    union all
    select source, kind, "interval", content_hash
    from late
)
