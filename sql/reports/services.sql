-- Where idle and unallocated cost lies, dearest first: one row per currency × target × reason × service × account. Inputs:
-- allocations, charges (the report's billing periods). A rule is written for a service or an account: these are the first.
with lost as (
    select
        allocations.currency,
        target,
        reason,
        service_name,
        coalesce(sub_account_name, sub_account_id) as account,
        count(distinct resource_id) as resources,
        count(distinct allocations.row_id) as rows,
        sum(billed) as billed,
        sum(effective) as effective
    from allocations
    join charges on charges.row_id = allocations.row_id
    where basis = 'usage' and target in ('idle', 'unallocated')
    group by allocations.currency, target, reason, service_name, coalesce(sub_account_name, sub_account_id)
),
ranked as (
    select *, row_number() over (
        partition by currency, target
        order by abs(effective) + abs(billed) desc, service_name, account, reason
    ) as place
    from lost
)
select currency, target, reason, service_name, account, resources, rows, billed, effective
from ranked
where place <= 10
order by currency, target, place
