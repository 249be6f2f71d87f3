-- Where each cent of the charges went: one row per charge × target, largest first.
-- Inputs: allocations, late_allocations (those asked for).
select
    'allocations' as held_in, row_id, billing_period, target, model_id, model_version, stage, reason, category, rule,
    rule_version, driver, via, weight, weight_total, billed, effective, basis
from allocations
union all
select
    'late_allocations', row_id, billing_period, target, model_id, model_version, stage, reason, category, rule,
    rule_version, driver, via, weight, weight_total, billed, effective, basis
from late_allocations
order by row_id, held_in, basis desc, abs(effective) desc, abs(billed) desc, target, model_id, model_version, stage
