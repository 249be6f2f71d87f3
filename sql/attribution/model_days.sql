-- What each model version cost on each day, per currency: the amounts that recommendation_costs divides.
-- Inputs: allocations. run = deployment and operations, usage basis, without tax; full = everything, allocation basis.
select
    day,
    model_id,
    model_version,
    currency,
    coalesce(
        sum(effective) filter (
            where basis = 'usage' and stage in ('deployment', 'operations') and charge_category <> 'Tax'
        ),
        0
    ) as run_cost,
    sum(effective) as full_cost
from allocations
where target = 'model'
group by day, model_id, model_version, currency
order by day, model_id, currency, model_version
