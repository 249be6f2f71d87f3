-- I3: every delivery of charges that counts has, in charges and in the quarantine, as many rows as were ingested and the same
-- sums, billed and effective, per currency; and both are what its manifest states, where it has one.
-- Inputs: deliveries, delivery_sums, charges, late_charges, quarantine. Stated sums are not looked at where reading the bill
-- took digits past 18 places away: they were held against the exact ones when it came.
with found as (
    select
        delivery_id,
        billing_currency as currency,
        count(*) as rows,
        sum(billed_cost) as billed,
        sum(effective_cost) as effective,
        count(billed_rounding) + count(effective_rounding) as rounded
    from (
        select delivery_id, billing_currency, billed_cost, effective_cost, billed_rounding, effective_rounding from charges
        union all
        select delivery_id, billing_currency, billed_cost, effective_cost, billed_rounding, effective_rounding from late_charges
    )
    group by delivery_id, billing_currency
),
rejected as (
    select delivery_id, count(*) as rows
    from quarantine
    where kind = 'charges'
    group by delivery_id
),
counts as (
    select delivery_id, sum(rows) as rows
    from found
    group by delivery_id
),
bills as (
    select * from deliveries where kind = 'charges' and status = 'active'
)
select source, "interval", bills.delivery_id, 'rows published' as what,
    cast(rows_out as varchar) as noted, cast(coalesce(counts.rows, 0) as varchar) as found
from bills
left join counts on counts.delivery_id = bills.delivery_id
where rows_out <> coalesce(counts.rows, 0)
union all
select source, "interval", bills.delivery_id, 'rows rejected', cast(rows_quarantined as varchar), cast(coalesce(rejected.rows, 0) as varchar)
from bills
left join rejected on rejected.delivery_id = bills.delivery_id
where rows_quarantined <> coalesce(rejected.rows, 0)
union all
select source, "interval", delivery_id, 'rows stated', cast(rows_stated as varchar), cast(rows_in as varchar)
from bills
where rows_stated <> rows_in
union all
select bills.source, bills."interval", bills.delivery_id, 'sums in ' || sums.currency,
    cast(sums.billed as varchar) || ' billed, ' || cast(sums.effective as varchar) || ' effective',
    cast(coalesce(found.billed, 0) as varchar) || ' billed, ' || cast(coalesce(found.effective, 0) as varchar) || ' effective'
from bills
join delivery_sums as sums on sums.delivery_id = bills.delivery_id
left join found on found.delivery_id = sums.delivery_id and found.currency = sums.currency
where sums.rows <> coalesce(found.rows, 0)
    or sums.billed <> coalesce(found.billed, 0)
    or sums.effective <> coalesce(found.effective, 0)
union all
select bills.source, bills."interval", bills.delivery_id, 'sums stated in ' || sums.currency,
    coalesce(cast(stated_billed as varchar), 'no') || ' billed, ' || coalesce(cast(stated_effective as varchar), 'no') || ' effective',
    cast(sums.billed as varchar) || ' billed, ' || cast(sums.effective as varchar) || ' effective'
from bills
join delivery_sums as sums on sums.delivery_id = bills.delivery_id
left join found on found.delivery_id = sums.delivery_id and found.currency = sums.currency
where coalesce(found.rounded, 0) = 0
    and (
        stated_billed <> sums.billed + coalesce(quarantined_billed, 0)
        or stated_effective <> sums.effective + coalesce(quarantined_effective, 0)
    )
