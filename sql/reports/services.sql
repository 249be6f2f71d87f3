-- Where idle and unallocated cost lies, dearest first: one row per currency × target × reason × service × account. Inputs:
-- allocations, charges (the report's billing periods). A rule is written for a service or an account: these are the first.
-- Allocations are added up by row, then by resource: a set of the rows of each group would have to fit the memory.
with parts as (
    select row_id, currency, target, reason, sum(billed) as billed, sum(effective) as effective
    from allocations
    where basis = 'usage' and target in ('idle', 'unallocated')
    group by row_id, currency, target, reason
),
of_resource as (
    select
        parts.currency,
        target,
        reason,
        service_name,
        coalesce(sub_account_name, sub_account_id) as account,
        resource_id,
        count(*) as rows,
        sum(billed) as billed,
        sum(effective) as effective
    from parts
    join charges on charges.row_id = parts.row_id
    group by parts.currency, target, reason, service_name, coalesce(sub_account_name, sub_account_id), resource_id
),
lost as (
    select
        currency, target, reason, service_name, account,
        count(resource_id) as resources,
        sum(rows) as rows,
        sum(billed) as billed,
        sum(effective) as effective
    from of_resource
    group by currency, target, reason, service_name, account
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
