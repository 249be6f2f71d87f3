-- I5: nothing is added across currencies without a rate. Each converted amount is the original at the rate that its rate_id
-- names, a rate_id names one rate, and per currency the originals add up to model_costs and, at the closing rate, to what
-- the converted costs and the exchange difference add up to.
-- Inputs: converted_costs, model_costs, exchange_rates.
with named as (
    select rate_id, count(*) as rates, min(rate) as rate, min(from_currency) as from_currency, min(to_currency) as to_currency
    from exchange_rates
    group by rate_id
),
originals as (
    select billing_period, currency, sum(usage_effective) as effective, sum(usage_billed) as billed
    from model_costs
    where billing_period in (select billing_period from converted_costs)
    group by billing_period, currency
),
sums as (
    select
        billing_period,
        currency,
        sum(original_usage_effective) filter (where line = 'cost') as original_effective,
        sum(original_usage_billed) filter (where line = 'cost') as original_billed,
        sum(usage_effective) filter (where line <> 'restatement') as effective,
        sum(usage_billed) filter (where line <> 'restatement') as billed,
        max(rate) filter (where line = 'exchange_difference') as closing_rate
    from converted_costs
    group by billing_period, currency
)
select billing_period, currency, cast(day as varchar) as day, rate_id, 'not the original at its rate' as wrong
from converted_costs
where line <> 'exchange_difference'
    and (
        usage_effective <> times(original_usage_effective, rate)
        or usage_billed <> times(original_usage_billed, rate)
        or allocation_effective <> times(original_allocation_effective, rate)
        or allocation_billed <> times(original_allocation_billed, rate)
        or ((rate_id is null) <> (currency = reporting_currency and rate = 1))
    )
union all
select converted_costs.billing_period, converted_costs.currency, cast(day as varchar), converted_costs.rate_id, 'rate_id names no such rate'
from converted_costs
left join named on named.rate_id = converted_costs.rate_id
where converted_costs.rate_id is not null
    and (
        (named.rates is distinct from 1)
        or (named.rate is distinct from converted_costs.rate)
        or (named.from_currency is distinct from converted_costs.currency)
        or (named.to_currency is distinct from converted_costs.reporting_currency)
    )
union all
select originals.billing_period, originals.currency, null, null, 'does not add up'
from originals
left join sums on sums.billing_period = originals.billing_period and sums.currency = originals.currency
where (originals.effective is distinct from sums.original_effective)
    or (originals.billed is distinct from sums.original_billed)
    or (
        sums.closing_rate is not null
        and (
            sums.effective <> times(cast(originals.effective as decimal(38, 18)), sums.closing_rate)
            or sums.billed <> times(cast(originals.billed as decimal(38, 18)), sums.closing_rate)
        )
    )
