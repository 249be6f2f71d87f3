-- model_costs: one row per day × target × model × version × stage × category × currency of a billing period.
-- Inputs: allocations (one billing period). The usage basis is its rows of that basis, the allocation basis all of them.
select
    day,
    currency,
    target,
    model_id,
    model_version,
    stage,
    category,
    coalesce(sum(billed) filter (where basis = 'usage'), 0) as usage_billed,
    coalesce(sum(effective) filter (where basis = 'usage'), 0) as usage_effective,
    sum(billed) as allocation_billed,
    sum(effective) as allocation_effective
from allocations
group by day, currency, target, model_id, model_version, stage, category
