-- The proof that the report ties to the bill. Inputs: reconciliation (the report's billing periods).
select billing_period, currency, issuer, basis, line, rows, billed, effective, billed_rounding, effective_rounding
from reconciliation
order by currency, billing_period, issuer, basis, line
