-- Why effective cost is not what was billed: one row per currency × kind of charge, largest difference first.
-- Inputs: charges (the report's billing periods). Kinds without a difference are left out.
select
    billing_currency as currency,
    case
        when charge_category = 'Purchase' then 'Purchases, whose cost is in the charges that they cover'
        when commitment_discount_status = 'Unused' or capacity_reservation_status = 'Unused'
        then 'Unused commitments and reservations, billed when they were bought'
        when commitment_discount_id is not null then 'Usage covered by a commitment, billed when it was bought'
        else charge_category || ' with an effective cost of its own'
    end as what,
    count(*) as rows,
    sum(billed_cost) as billed,
    sum(effective_cost) as effective
from charges
group by currency, what
having sum(billed_cost) <> sum(effective_cost)
order by currency, abs(sum(effective_cost) - sum(billed_cost)) desc, what
