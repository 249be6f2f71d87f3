-- I5: an allocation is in the currency of its charge, and what is moved on from an idle pool in the currency of the pool.
-- Inputs: charges, allocations. Two currencies in one sum would be a number of nothing.
select row_id, min(currency) as currency, max(currency) as other_currency
from (
    select row_id, billing_currency as currency
    from charges
    union all
    select row_id, currency
    from allocations
) as rows
group by row_id
having min(currency) <> max(currency)
