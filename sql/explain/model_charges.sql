-- The rows of bills behind a model's figure, largest first: one row per allocation, with file and row of its charge. What was
-- moved on from an idle pool has no row of its own; its row_id names the pool.
-- Inputs: largest (the model's largest allocations), charges.
select
    largest.billing_period, largest.currency, largest.row_id, largest.stage, largest.category,
    largest.rule, largest.driver, largest.weight, largest.weight_total, largest.basis,
    largest.billed, largest.effective,
    charges.source, charges.file, charges.row, charges.invoice_id, charges.service_name, charges.resource_id,
    charges.billed_cost as charge_billed, charges.effective_cost as charge_effective
from largest
left join charges on charges.row_id = largest.row_id
order by abs(largest.effective) desc, abs(largest.billed) desc, largest.row_id, largest.stage
