-- People's time → charges: one row per line of a timesheet, by day. Amount: `cost`, else time × `hourly_rate`, exact.
-- Time is `hours` (decimals) or `minutes` (whole). Who worked is not read: a column with a person's name stays behind.
-- optional: hours, minutes, hourly_rate, cost, team, model, model_version, stage, project, description
with lines as (
    select
        _row,
        try_cast(known(text(day)) as date) as day,
        known(text(hours)) as hours,
        try_cast(known(text(hours)) as decimal(38, 18)) as hours_read,
        known(text(minutes)) as minutes,
        try_cast(known(text(minutes)) as bigint) as minutes_read,
        known(text(hourly_rate)) as rate,
        try_cast(known(text(hourly_rate)) as decimal(38, 18)) as rate_read,
        known(text(cost)) as cost,
        known(text(currency)) as currency,
        known(text(team)) as team,
        known(text(description)) as description,
        json(map(
            ['model', 'model_version', 'stage', 'project'],
            [known(text(model)), known(text(model_version)), known(text(stage)), known(text(project))]
        )) as tags
    from source
)
select
    _row,
    case
        when day is null then 'day is no day, such as 2026-10-31'
        when hours is not null and hours_read is null then 'hours is no number: ' || hours
        when hours_read < 0 then 'hours is negative: ' || hours
        when minutes is not null and minutes_read is null then 'minutes is no whole number: ' || minutes
        when minutes_read < 0 then 'minutes is negative: ' || minutes
        when hours is not null and minutes is not null then 'minutes is given beside hours; one of them counts'
        when cost is null and hours is null and minutes is null then 'hours is missing, and so are minutes and cost'
        when cost is null and rate is null then 'hourly_rate is missing, and so is cost'
        when cost is null and rate_read is null then 'hourly_rate is no amount: ' || rate
        when cost is null and rate_read < 0 then 'hourly_rate is negative: ' || rate
    end as _reject,
    coalesce(cost, text(times(rate_read, hours_read)), text(per(rate_read, minutes_read, 60))) as billed_cost,
    coalesce(cost, text(times(rate_read, hours_read)), text(per(rate_read, minutes_read, 60))) as effective_cost,
    currency as billing_currency,
    date_trunc('month', day) as billing_period_start,
    date_trunc('month', day) + interval '1 month' as billing_period_end,
    cast(day as timestamp) as charge_period_start,
    cast(day as timestamp) + interval '1 day' as charge_period_end,
    'Usage' as charge_category,
    'Usage-Based' as charge_frequency,
    coalesce(description, 'Time of people') as charge_description,
    'Timesheets' as service_name,
    team as resource_id,
    coalesce(hours_read, per(1, minutes_read, 60)) as consumed_quantity,
    case when coalesce(hours, minutes) is not null then 'Hours' end as consumed_unit,
    'labour' as x_source_kind,
    tags
from lines
