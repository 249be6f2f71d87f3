-- I3: every delivery of charges has as many rows in charges as were ingested.
with found as (
    select delivery_id, count(*) as rows
    from (
        select delivery_id from charges
        union all
        select delivery_id from late_charges
    )
    group by delivery_id
)
select deliveries.source, deliveries."interval", rows_out, coalesce(found.rows, 0) as found
from deliveries
left join found on found.delivery_id = deliveries.delivery_id
where kind = 'charges' and rows_out <> coalesce(found.rows, 0)
