-- One row per currency × target × model × version × stage × category × reason: where the money of the report's periods went.
-- Inputs: allocation_days (the report's billing periods).
select
    currency,
    target,
    model_id,
    model_version,
    stage,
    category,
    reason,
    coalesce(sum(billed) filter (where basis = 'usage'), 0) as usage_billed,
    coalesce(sum(effective) filter (where basis = 'usage'), 0) as usage_effective,
    sum(billed) as allocation_billed,
    sum(effective) as allocation_effective
from allocation_days
group by currency, target, model_id, model_version, stage, category, reason
order by currency, target, model_id, model_version, stage, category, reason
