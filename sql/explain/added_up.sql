-- Allocations added up as allocation_days has them: one row per billing period × day × target × model × version × stage ×
-- reason × category × rule × driver × basis × currency.
-- Inputs: to_add_up (the allocations of billing periods that allocation_days does not hold).
select
    day, currency, target, model_id, model_version, stage, reason, category, charge_category, rule, rule_version, driver,
    basis, count(*) as parts, sum(billed) as billed, sum(effective) as effective, billing_period
from to_add_up
group by
    billing_period, day, currency, target, model_id, model_version, stage, reason, category, charge_category, rule,
    rule_version, driver, basis
