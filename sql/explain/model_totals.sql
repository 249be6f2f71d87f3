-- What a figure is made of: one row per billing period × currency × stage × category × rule × driver, largest first.
-- Inputs: allocation_days (of the model, or of what is asked for).
select
    billing_period, currency, stage, category, rule, driver,
    sum(parts) as parts,
    coalesce(sum(billed) filter (where basis = 'usage'), 0) as usage_billed,
    coalesce(sum(effective) filter (where basis = 'usage'), 0) as usage_effective,
    sum(billed) as allocation_billed,
    sum(effective) as allocation_effective
from allocation_days
group by billing_period, currency, stage, category, rule, driver
order by billing_period, currency, abs(sum(effective)) desc, stage, category, rule, driver
