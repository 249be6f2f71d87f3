-- reconciliation: one row per currency × issuer × basis × line of a billing period.
-- Inputs: charges, allocations, restatements, quarantine, deliveries (one billing period).
-- bill = attributed + idle + unallocated, so difference = 0, on either basis. rows are those of the bill, and allocations of
-- what it was split into. Beside them: quarantined charges, which the
-- bill line does not hold; ingest_rounding, the digits past 18 places that reading the bill took away; and restated, what
-- came later for closed periods and is booked in this one, one line per closed period.
with bill as (
    select
        billing_currency as currency,
        coalesce(invoice_issuer_name, provider_name, source) as issuer,
        count(*) as rows,
        sum(billed_cost) as billed,
        sum(effective_cost) as effective,
        count(coalesce(billed_rounding, effective_rounding)) as rounded,
        sum(billed_rounding) as billed_rounding,
        sum(effective_rounding) as effective_rounding
    from charges
    group by billing_currency, coalesce(invoice_issuer_name, provider_name, source)
),
bases as (
    select 'usage' as basis
    union all
    select 'allocation' as basis
),
parts as (
    select currency, issuer, bases.basis, target, count(*) as rows, sum(billed) as billed, sum(effective) as effective
    from allocations
    join bases on allocations.basis = 'usage' or bases.basis = 'allocation'
    group by currency, issuer, bases.basis, target
),
lines as (
    select currency, issuer, basis, 'bill' as line, rows, billed, effective
    from bill cross join bases
    union all
    select
        bill.currency,
        bill.issuer,
        bases.basis,
        targets.line,
        coalesce(parts.rows, 0),
        coalesce(parts.billed, 0),
        coalesce(parts.effective, 0)
    from bill
    cross join bases
    cross join (values ('attributed', 'model'), ('idle', 'idle'), ('unallocated', 'unallocated')) as targets (line, target)
    left join parts
        on parts.currency = bill.currency
        and parts.issuer = bill.issuer
        and parts.basis = bases.basis
        and parts.target = targets.target
)
select currency, issuer, basis, line, rows, billed, effective,
    cast(null as decimal(38, 38)) as billed_rounding, cast(null as decimal(38, 38)) as effective_rounding
from lines
union all
select
    currency, issuer, basis, 'difference', 0,
    sum(case when line = 'bill' then billed else -billed end),
    sum(case when line = 'bill' then effective else -effective end),
    null, null
from lines
group by currency, issuer, basis
union all
select currency, issuer, 'usage', 'ingest_rounding', rounded, 0, 0, billed_rounding, effective_rounding
from bill
where rounded > 0
union all
select
    currency, 'closed period ' || restated_period, basis, 'restated', count(*),
    sum(case when basis = 'usage' then usage_billed else allocation_billed end),
    sum(case when basis = 'usage' then usage_effective else allocation_effective end),
    null, null
from restatements
cross join bases
group by currency, restated_period, basis
union all
select
    coalesce(currency, 'unknown'), source, 'usage', 'quarantined', count(*),
    case when count(billed) = count(*) then sum(billed) end,
    case when count(effective) = count(*) then sum(effective) end,
    null, null
from quarantine
group by coalesce(currency, 'unknown'), source
