-- The dearest idle and unallocated resources of each currency, dearest first: where to look.
-- Inputs: allocations, charges (the report's billing periods).
-- Allocations are added up by row first: a set of the rows of each group would have to fit the memory.
with parts as (
    select row_id, currency, target, reason, sum(billed) as billed, sum(effective) as effective
    from allocations
    where basis = 'usage' and target in ('idle', 'unallocated')
    group by row_id, currency, target, reason
),
lost as (
    select
        parts.currency,
        target,
        resource_id,
        service_name,
        reason,
        count(*) as rows,
        sum(billed) as billed,
        sum(effective) as effective
    from parts
    join charges on charges.row_id = parts.row_id
    group by parts.currency, target, resource_id, service_name, reason
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
