-- What each part of the bill cost each owner in the newest two billing periods, side by side: one row per currency × line
-- of the bill (resource and service) × target × model × stage × category, with what the line cost all owners together.
-- Inputs: allocations, charges (the periods to compare).
with parts as (
    select
        allocations.currency,
        resource_id,
        service_name,
        target,
        model_id,
        stage,
        category,
        allocations.billing_period = (select max(billing_period) from allocations) as newest,
        effective
    from allocations
    join charges on charges.row_id = allocations.row_id
    where basis = 'usage'
),
owners as (
    select
        currency, resource_id, service_name, target, model_id, stage, category,
        coalesce(sum(effective) filter (where not newest), 0) as before,
        coalesce(sum(effective) filter (where newest), 0) as after,
        count(*) filter (where not newest) as rows_before,
        count(*) filter (where newest) as rows_after
    from parts
    group by currency, resource_id, service_name, target, model_id, stage, category
)
select
    currency, target, model_id, stage, category, before, after,
    sum(before) over line as line_before,
    sum(after) over line as line_after,
    sum(rows_before) over line > 0 as was_there,
    sum(rows_after) over line > 0 as is_there
from owners
window line as (partition by currency, resource_id, service_name)
