-- The unit view rolled forward: one row per currency × model × month from the first in which making the model cost anything:
-- opening + incurred + transferred - recognised - written_off = closing, and each opening is the closing before it.
-- Inputs: version_ledger (up to the end of the report), model_costs (the report's billing periods: their months are there
-- even if nothing moved).
with months as (
    select to_char(day, '%Y-%m') as month from version_ledger
    union
    select billing_period from model_costs
),
moved as (
    select
        currency, model_id, to_char(day, '%Y-%m') as month,
        sum(incurred) as incurred,
        sum(transferred) as transferred,
        sum(recognised) as recognised,
        sum(written_off) as written_off
    from version_ledger
    group by currency, model_id, to_char(day, '%Y-%m')
),
models as (
    select currency, model_id, min(month) as first_month from moved group by currency, model_id
),
filled as (
    select
        models.currency, models.model_id, months.month,
        coalesce(incurred, 0) as incurred,
        coalesce(transferred, 0) as transferred,
        coalesce(recognised, 0) as recognised,
        coalesce(written_off, 0) as written_off
    from models
    join months on months.month >= models.first_month
    left join moved
        on moved.currency = models.currency and moved.model_id = models.model_id and moved.month = months.month
)
select
    currency, model_id, month, incurred, transferred, recognised, written_off,
    sum(incurred + transferred - recognised - written_off) over (
        partition by currency, model_id order by month
    ) as closing
from filled
order by currency, model_id, month
