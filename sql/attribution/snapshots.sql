-- snapshots: one row per currency × target × model × version × stage × category of a billing period that is being closed.
-- Inputs: allocations (that billing period). Its amounts are what every later restatement is measured against.
select
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
group by currency, target, model_id, model_version, stage, category
