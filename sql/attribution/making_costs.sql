-- What each model version cost to make: one row per day × model × version × currency.
-- Inputs: model_costs, restatements. Development, training and upgrade, effective, allocation basis: with the tax on them
-- and their share of idle. A restatement of a closed period counts on the first day of the period that it is booked in.
with parts as (
    select day, model_id, model_version, currency, allocation_effective as effective
    from model_costs
    where target = 'model' and stage in ('development', 'training', 'upgrade')
    union all
    select
        cast(billing_period || '-01' as date) as day, model_id, model_version, currency, allocation_effective as effective
    from restatements
    where target = 'model' and stage in ('development', 'training', 'upgrade')
)
select day, model_id, model_version, currency, sum(effective) as effective
from parts
group by day, model_id, model_version, currency
having sum(effective) <> 0
