-- I1: for every charge, the parts of the usage basis add up to the charge, billed and effective, to the last digit.
with parts as (
    select row_id, sum(billed) as billed, sum(effective) as effective
    from allocations
    where basis = 'usage'
    group by row_id
)
select charges.row_id, billed_cost, parts.billed, effective_cost, parts.effective
from charges
left join parts on parts.row_id = charges.row_id
where parts.row_id is null or billed_cost <> parts.billed or effective_cost <> parts.effective
