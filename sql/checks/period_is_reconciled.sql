-- I2: per currency, billing period and issuer, attributed + idle + unallocated = the bill, on both bases.
select billing_period, currency, issuer, basis, billed, effective
from reconciliation
where line = 'difference' and (billed <> 0 or effective <> 0)
