-- The charges to be explained, one row per row of a bill, with where it came from, and how it stands to what was delivered
-- since: of a closed billing period `unchanged`, `withdrawn` or `new`, by the delivery that came later; `superseded` where
-- its own counts no longer and no other has it; null where nothing came later.
-- Inputs: charges, late_charges, superseded_charges (those asked for), deliveries.
with found as (
    select 'charges' as held_in, charges.* from charges
    union all
    select 'late_charges', late_charges.* from late_charges
    union all
    select 'superseded_charges', superseded_charges.* from superseded_charges
),
brought as (
    select
        found.*,
        deliveries."interval", deliveries.name, deliveries.status,
        -- A charge may have been superseded many times over, with each delivery that had it.
        row_number() over (partition by held_in, row_id order by deliveries.received_at desc, found.delivery_id) as place,
        sum(case when held_in = 'charges' then 1 else 0 end) over (partition by row_id) as in_charges,
        sum(case when held_in = 'late_charges' then 1 else 0 end) over (partition by row_id) as in_late_charges
    from found
    left join deliveries on deliveries.delivery_id = found.delivery_id
),
later as (
    select
        brought.delivery_id,
        first_value(deliveries.delivery_id order by deliveries.received_at desc, deliveries.delivery_id) as later_delivery_id
    from (select distinct delivery_id, source, "interval", name from brought where status = 'superseded') as brought
    join deliveries on deliveries.source = brought.source and deliveries."interval" = brought."interval" and deliveries.status = 'active'
    where (deliveries.name is not distinct from brought.name) or deliveries.name is null or brought.name is null
    group by brought.delivery_id
)
select
    held_in, row_id, billing_period, source, file, row, brought.delivery_id, billing_currency as currency,
    coalesce(invoice_issuer_name, provider_name, source) as issuer,
    invoice_id, charge_category, charge_class, charge_description, service_name, resource_id,
    charge_period_start, charge_period_end, billed_cost as billed, effective_cost as effective, tags,
    case
        when held_in = 'superseded_charges' then 'superseded'
        when held_in = 'late_charges' then case when in_charges > 0 then 'unchanged' else 'new' end
        when status = 'superseded' then case when in_late_charges > 0 then 'unchanged' else 'withdrawn' end
    end as standing,
    later.later_delivery_id
from brought
left join later on later.delivery_id = brought.delivery_id
where place = 1
order by billing_period, row_id, held_in
