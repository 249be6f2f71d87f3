-- converted_costs: model_costs and restatements of a billing period in the reporting currency, with the rate of each.
-- Inputs: model_costs, restatements (one billing period), rates (attribution/rates.sql).
-- A cost is converted at the rate of its day, a restatement at the rate of the day on which the period closes. What the
-- whole of a currency is worth at that closing rate, less what its parts came to, is the exchange difference, a line of
-- its own: so cost + exchange_difference is the bill at the closing rate, exactly.
with parts as (
    select
        'cost' as line, day, currency, cast(null as varchar) as restated_period, target, model_id, model_version, stage, category,
        usage_billed, usage_effective, allocation_billed, allocation_effective
    from model_costs
    union all
    select
        'restatement', (select max(day) from rates where closing), currency, restated_period, target, model_id, model_version, stage, category,
        usage_billed, usage_effective, allocation_billed, allocation_effective
    from restatements
),
costs as (
    select
        line, parts.day, parts.currency, restated_period, target, model_id, model_version, stage, category,
        reporting_currency, rate_id, rate,
        usage_billed as original_usage_billed,
        usage_effective as original_usage_effective,
        allocation_billed as original_allocation_billed,
        allocation_effective as original_allocation_effective,
        times(usage_billed, rate) as usage_billed,
        times(usage_effective, rate) as usage_effective,
        times(allocation_billed, rate) as allocation_billed,
        times(allocation_effective, rate) as allocation_effective
    from parts
    join rates on rates.currency = parts.currency and rates.day = parts.day
),
sums as (
    select
        currency,
        cast(sum(original_usage_billed) as decimal(38, 18)) as original_usage_billed,
        cast(sum(original_usage_effective) as decimal(38, 18)) as original_usage_effective,
        cast(sum(original_allocation_billed) as decimal(38, 18)) as original_allocation_billed,
        cast(sum(original_allocation_effective) as decimal(38, 18)) as original_allocation_effective,
        sum(usage_billed) as usage_billed,
        sum(usage_effective) as usage_effective,
        sum(allocation_billed) as allocation_billed,
        sum(allocation_effective) as allocation_effective
    from costs
    where line = 'cost'
    group by currency
)
select * from costs
union all
select
    'exchange_difference', rates.day, sums.currency, null, null, null, null, null, 'other',
    reporting_currency, rate_id, rate, 0, 0, 0, 0,
    times(original_usage_billed, rate) - usage_billed,
    times(original_usage_effective, rate) - usage_effective,
    times(original_allocation_billed, rate) - allocation_billed,
    times(original_allocation_effective, rate) - allocation_effective
from sums
join rates on rates.currency = sums.currency and rates.closing
where sums.currency <> reporting_currency
