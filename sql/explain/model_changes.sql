-- The rows of bills behind what was restated of a model, largest first: one row per charge of a closed period whose part of the
-- model's cost (usage basis) is another today than when the period was closed. `added` and `withdrawn` are charges that only
-- the bill of today or only that of then has; a `changed` one is on both, and what it is split by is another.
-- Inputs: changes (billing period, currency, row_id, and by how much the model's part differs), closed_charges and late_charges
-- (those of the changes), deliveries.
select
    changes.billing_period as restated_period, changes.currency, changes.row_id,
    case
        when late.row_id is null and deliveries.status <> 'active' then 'withdrawn'
        when closed.row_id is null then 'added'
        else 'changed'
    end as change,
    changes.billed, changes.effective,
    coalesce(late.source, closed.source) as source,
    coalesce(late.file, closed.file) as file,
    coalesce(late.row, closed.row) as row,
    coalesce(late.service_name, closed.service_name) as service_name,
    coalesce(late.resource_id, closed.resource_id) as resource_id,
    coalesce(late.billed_cost, closed.billed_cost) as charge_billed,
    coalesce(late.effective_cost, closed.effective_cost) as charge_effective
from changes
left join closed_charges as closed on closed.row_id = changes.row_id and closed.billing_period = changes.billing_period
left join late_charges as late on late.row_id = changes.row_id and late.billing_period = changes.billing_period
left join deliveries on deliveries.delivery_id = closed.delivery_id
order by restated_period, abs(changes.effective) desc, abs(changes.billed) desc, changes.row_id
