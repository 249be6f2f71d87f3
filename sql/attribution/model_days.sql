-- What each model version cost on each day, per currency: the amounts that recommendation_costs divides.
-- Inputs: allocation_days, version_ledger. Each amount is in one column alone, and they add up to full_cost:
-- run_cost = deployment and operations, usage basis, without tax; tax_cost = tax on them; idle_cost = idle that moved to
-- them on the allocation basis; making_cost = what was recognised of the cost to make the version. What development,
-- training and upgrade cost on the day, their tax and idle included, is in version_ledger and not here.
with parts as (
    select
        day, model_id, model_version, currency,
        sum(effective) filter (where basis = 'usage' and charge_category <> 'Tax') as run_cost,
        sum(effective) filter (where basis = 'usage' and charge_category = 'Tax') as tax_cost,
        sum(effective) filter (where basis = 'allocation') as idle_cost,
        cast(null as decimal(38, 18)) as making_cost
    from allocation_days
    where target = 'model' and coalesce(stage, 'operations') not in ('development', 'training', 'upgrade')
    group by day, model_id, model_version, currency
    union all
    select
        day, model_id, model_version, currency,
        cast(null as decimal(38, 18)) as run_cost,
        cast(null as decimal(38, 18)) as tax_cost,
        cast(null as decimal(38, 18)) as idle_cost,
        recognised as making_cost
    from version_ledger
    where recognised <> 0
)
select
    day,
    model_id,
    model_version,
    currency,
    coalesce(sum(run_cost), 0) as run_cost,
    coalesce(sum(tax_cost), 0) as tax_cost,
    coalesce(sum(idle_cost), 0) as idle_cost,
    coalesce(sum(making_cost), 0) as making_cost,
    coalesce(sum(run_cost), 0) + coalesce(sum(tax_cost), 0) + coalesce(sum(idle_cost), 0)
    + coalesce(sum(making_cost), 0) as full_cost
from parts
group by day, model_id, model_version, currency
order by day, model_id, currency, model_version
