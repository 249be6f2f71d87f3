-- The exchange rate of each currency into the reporting currency, for each day on which something is to be converted.
-- Inputs: model_costs, restatements (one billing period), exchange_rates, policy (reporting_currency, closing_day,
-- oldest_days). The rate of a day is the newest that begins on it or before, and not more than oldest_days before; without
-- one rate is null, which stops the run. The reporting currency itself is converted by 1 and has no rate_id.
with wanted as (
    select currency, day from model_costs
    union
    select currency, closing_day from model_costs cross join policy
    union
    select currency, closing_day from restatements cross join policy
),
candidates as (
    select
        wanted.currency,
        wanted.day,
        exchange_rates.rate_id,
        exchange_rates.rate,
        row_number() over (
            partition by wanted.currency, wanted.day
            order by exchange_rates.valid_from desc, exchange_rates.rate_id
        ) as place
    from wanted
    cross join policy
    join exchange_rates
        on exchange_rates.from_currency = wanted.currency and exchange_rates.to_currency = policy.reporting_currency
    where cast(exchange_rates.valid_from as date) <= wanted.day
        and date_part('epoch', wanted.day) - date_part('epoch', cast(exchange_rates.valid_from as date))
            <= policy.oldest_days * 86400
)
select
    wanted.currency,
    wanted.day,
    policy.reporting_currency,
    wanted.day = policy.closing_day as closing,
    candidates.rate_id,
    case when wanted.currency = policy.reporting_currency then cast(1 as decimal(38, 18)) else candidates.rate end as rate
from wanted
cross join policy
left join candidates
    on candidates.currency = wanted.currency
    and candidates.day = wanted.day
    and candidates.place = 1
    and wanted.currency <> policy.reporting_currency
