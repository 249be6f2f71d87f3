-- The charges to be explained, one row per row of a bill, with where it came from.
-- Inputs: charges, late_charges (those asked for).
select
    'charges' as held_in,
    row_id, billing_period, source, file, row, delivery_id, billing_currency as currency,
    coalesce(invoice_issuer_name, provider_name, source) as issuer,
    invoice_id, charge_category, charge_class, charge_description, service_name, resource_id,
    charge_period_start, charge_period_end, billed_cost as billed, effective_cost as effective, tags
from charges
union all
select
    'late_charges', row_id, billing_period, source, file, row, delivery_id, billing_currency,
    coalesce(invoice_issuer_name, provider_name, source),
    invoice_id, charge_category, charge_class, charge_description, service_name, resource_id,
    charge_period_start, charge_period_end, billed_cost, effective_cost, tags
from late_charges
order by billing_period, row_id, held_in
