-- The rows of bills behind a figure, largest first: one row per allocation, with file and row of its charge. What was moved on
-- from an idle pool has no row of its own; its row_id names the pool.
-- Inputs: largest (the largest allocations of what is asked for, in the columns of largest_allocations).
select
    billing_period, currency, row_id, model_version, stage, category, rule, driver, weight, weight_total, basis, billed,
    effective, source, file, row, invoice_id, service_name, resource_id, charge_billed, charge_effective
from largest
order by abs(effective) desc, abs(billed) desc, row_id, stage, model_version, category, rule, driver, basis, weight
