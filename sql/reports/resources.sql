-- The dearest idle and unallocated resources of each currency, dearest first: where to look.
-- Inputs: allocations, charges (the report's billing periods).
with lost as (
    select
        allocations.currency,
        target,
        resource_id,
        service_name,
        reason,
        count(distinct allocations.row_id) as rows,
        sum(billed) as billed,
        sum(effective) as effective
    from allocations
    join charges on charges.row_id = allocations.row_id
    where basis = 'usage' and target in ('idle', 'unallocated')
    group by allocations.currency, target, resource_id, service_name, reason
),
ranked as (
    select *, row_number() over (
        partition by currency, target
        order by effective desc, resource_id, service_name, reason
    ) as place
    from lost
)
select currency, target, resource_id, service_name, reason, rows, billed, effective
from ranked
where place <= 10
order by currency, effective desc, target, resource_id, service_name, reason
