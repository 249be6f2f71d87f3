-- A register of owned machines → charges: one row per asset and day of its life in the month that is ingested, up to the
-- night, straight-line. acquisition_cost − residual_value is spread over useful_life_months from the day in_service on:
-- every month of the life has the same share, and within it every day. A day's charge is the difference of what is written
-- off by its end and by its start, so an asset's days add up to the digit. On the day of disposed_on the rest is written off.
-- For a source with `interval = "month"`, or a register per {period}.
-- optional: residual_value, disposed_on, resource_id, model, model_version, stage, project, description
with assets as (
    select
        _row,
        known(text(asset_id)) as asset_id,
        count(*) over (partition by known(text(asset_id))) as same,
        try_cast(known(text(acquisition_cost)) as decimal(38, 18)) as cost,
        coalesce(known(text(residual_value)), '0') as residual_text,
        try_cast(coalesce(known(text(residual_value)), '0') as decimal(38, 18)) as residual,
        try_cast(known(text(in_service)) as date) as in_service,
        try_cast(known(text(useful_life_months)) as bigint) as months,
        known(text(disposed_on)) as disposed_text,
        try_cast(known(text(disposed_on)) as date) as disposed_on,
        known(text(currency)) as currency,
        coalesce(known(text(resource_id)), known(text(asset_id))) as resource_id,
        known(text(description)) as description,
        json(map(
            ['model', 'model_version', 'stage', 'project'],
            [known(text(model)), known(text(model_version)), known(text(stage)), known(text(project))]
        )) as tags
    from source
),
looked_at as (
    select
        *,
        cost - residual as base,
        case
            when asset_id is null then 'asset_id is missing'
            when same > 1 then 'asset_id is there twice: ' || asset_id
            when cost is null then 'acquisition_cost is no amount'
            when cost < 0 then 'acquisition_cost is negative'
            when residual is null then 'residual_value is no amount: ' || residual_text
            when residual < 0 then 'residual_value is negative'
            when residual > cost then 'residual_value is more than acquisition_cost'
            when in_service is null then 'in_service is no day, such as 2026-10-31'
            when months is null then 'useful_life_months is no whole number'
            when months < 1 then 'useful_life_months is less than one'
            when months > 1200 then 'useful_life_months is more than 1200'
            when disposed_text is not null and disposed_on is null then 'disposed_on is no day: ' || disposed_text
            when disposed_on < in_service then 'disposed_on is before in_service'
        end as wrong
    from assets
),
days as (
    select
        *,
        unnest(
            case
                when wrong is not null then make_array(cast(period_start() as date))
                else generate_series(
                    greatest(in_service, cast(period_start() as date)),
                    least(
                        cast(period_end() - interval '1 day' as date),
                        cast(as_of() - interval '1 day' as date),
                        coalesce(disposed_on, cast(period_end() as date))
                    ),
                    interval '1 day'
                )
            end
        ) as day
    from looked_at
),
written_off as (
    select
        *,
        coalesce(day = disposed_on, false) as disposed,
        depreciated(base, in_service, months, day) as before,
        depreciated(base, in_service, months, cast(day + interval '1 day' as date)) as after
    from days
)
select
    _row,
    cast(row_number() over (partition by _row order by day) as integer) - 1 as _part,
    wrong as _reject,
    case when disposed then base else after end - before as billed_cost,
    case when disposed then base else after end - before as effective_cost,
    currency as billing_currency,
    period_start() as billing_period_start,
    period_end() as billing_period_end,
    cast(day as timestamp) as charge_period_start,
    cast(day as timestamp) + interval '1 day' as charge_period_end,
    case when disposed then 'Adjustment' else 'Usage' end as charge_category,
    'Recurring' as charge_frequency,
    case when disposed then 'Write-off at disposal: ' else 'Depreciation: ' end || coalesce(description, asset_id, '') as charge_description,
    'Owned hardware' as service_name,
    'Compute' as service_category,
    asset_id as sku_id,
    resource_id,
    'hardware' as x_source_kind,
    tags
from written_off
where wrong is not null or before <> base
order by _row, day
