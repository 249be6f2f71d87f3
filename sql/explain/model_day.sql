-- What running a model cost on a day: one row per day × model × version × currency × part × stage × category × rule × driver.
-- Inputs: allocation_days (of the models and days asked for). The parts are those of model_days: run_cost is on the usage basis
-- and without tax, overhead_cost the tax on it and the idle that moved to it.
with parts as (
    select
        day, model_id, model_version, currency,
        case when basis = 'usage' and charge_category <> 'Tax' then 'run_cost' else 'overhead_cost' end as part,
        case when basis = 'allocation' then 'idle' when charge_category = 'Tax' then 'tax' end as overhead,
        coalesce(stage, 'operations') as stage, category, rule, driver, parts, effective
    from allocation_days
    where target = 'model' and coalesce(stage, 'operations') not in ('development', 'training', 'upgrade')
),
sums as (
    select
        day, model_id, model_version, currency, part, overhead, stage, category, rule, driver, sum(parts) as parts,
        sum(effective) as effective
    from parts
    group by day, model_id, model_version, currency, part, overhead, stage, category, rule, driver
)
select day, model_id, model_version, currency, part, overhead, stage, category, rule, driver, parts, effective
from sums
order by day, model_id, currency, part desc, abs(effective) desc, model_version, stage, category, rule, driver, overhead
