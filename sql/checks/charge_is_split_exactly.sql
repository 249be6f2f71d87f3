-- I1: for every charge, the parts of the usage basis add up to the charge, billed and effective, to the last digit.
-- Inputs: charges, allocations, grouped together rather than joined: groups spill where a month has millions of charges.
select
    row_id, sum(billed_cost) as billed_cost, sum(billed) as billed, sum(effective_cost) as effective_cost,
    sum(effective) as effective
from (
    select
        row_id, billed_cost, effective_cost, cast(null as decimal(38, 18)) as billed, cast(null as decimal(38, 18)) as effective
    from charges
    union all
    select row_id, null, null, billed, effective
    from allocations
    where basis = 'usage'
) as rows
group by row_id
having count(billed_cost) > 0
    and (count(billed) = 0 or sum(billed_cost) <> sum(billed) or sum(effective_cost) <> sum(effective))
