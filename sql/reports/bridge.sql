-- Why effective cost is not what was billed: one row per currency × kind of charge, largest difference first.
-- Inputs: charges (the report's billing periods); only rows whose two amounts differ.
select
    billing_currency as currency,
    case
        when charge_category = 'Purchase' then 'Purchases that cover later charges'
        when commitment_discount_status = 'Unused' or capacity_reservation_status = 'Unused'
        then 'Unused commitments, billed when bought'
        when commitment_discount_id is not null then 'Usage under commitments, billed when bought'
        else charge_category || ' with an effective cost of its own'
    end as what,
    count(*) as rows,
    sum(billed_cost) as billed,
    sum(effective_cost) as effective
from charges
where billed_cost <> effective_cost
group by currency, what
order by currency, abs(sum(effective_cost) - sum(billed_cost)) desc, what
