-- model_costs: one row per day × target × model × version × stage × category × currency of a billing period.
-- Inputs: allocation_days (one billing period). The usage basis is its lines of that basis, the allocation basis all of them.
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
from allocation_days
group by day, currency, target, model_id, model_version, stage, category
