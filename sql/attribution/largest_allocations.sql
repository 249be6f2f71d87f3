-- largest_allocations: one row per allocation that was kept as one of the largest of its day × currency × target × model ×
-- version × stage, with the row of the bill that it is a part of.
-- Inputs: largest (what was kept while the allocations of a billing period were written), charges (of that period).
-- Idle that moves on has no row of a bill: its row_id names the pool.
select
    largest.row_id, largest.day, largest.currency, largest.issuer, largest.target, largest.model_id, largest.model_version,
    largest.stage, largest.reason, largest.category, largest.charge_category, largest.rule, largest.rule_version,
    largest.driver, largest.via, largest.weight, largest.weight_total, largest.billed, largest.effective, largest.basis,
    largest.place,
    charges.source, charges.file, charges.row, charges.invoice_id, charges.service_name, charges.resource_id,
    charges.billed_cost as charge_billed, charges.effective_cost as charge_effective,
    largest.billing_period
from largest
left join charges on charges.row_id = largest.row_id
