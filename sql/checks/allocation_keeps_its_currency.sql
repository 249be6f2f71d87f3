-- I5: an allocation is in the currency of its charge, and what is moved on from an idle pool in the currency of the pool.
-- Inputs: allocations, charges. Two currencies in one sum would be a number of nothing.
select allocations.row_id, allocations.basis, allocations.currency, charges.billing_currency as currency_of_its_origin
from allocations
join charges on charges.row_id = allocations.row_id
where allocations.currency <> charges.billing_currency
union all
select row_id, 'allocation', min(currency), max(currency)
from allocations
where basis = 'allocation'
group by row_id
having min(currency) <> max(currency)
