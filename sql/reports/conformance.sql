-- Every sum of the bills that was held against another: what does not hold first. Inputs: conformance.
select rule, subject, issuer, unit, rows, stated, found, difference, tolerance, holds
from conformance
order by holds, rule, issuer, unit, subject, stated, found
