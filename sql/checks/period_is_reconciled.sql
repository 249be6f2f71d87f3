-- I2: per currency, billing period, issuer and basis, attributed + idle + unallocated = the bill, and reconciliation says so.
-- Inputs: charges, allocations, reconciliation, quarantine. Bill and parts are added up here once more, so that a line that
-- reconciliation leaves out or adds up wrongly is seen too. found is what reconciliation holds, null where it has no line.
with bases as (
    select 'usage' as basis
    union all
    select 'allocation' as basis
),
parts as (
    select billing_period, currency, issuer, basis, target, sum(billed) as billed, sum(effective) as effective
    from allocations
    group by billing_period, currency, issuer, basis, target
),
lines as (
    select
        billing_period, billing_currency as currency, coalesce(invoice_issuer_name, provider_name, source) as issuer, basis,
        'bill' as line, sum(billed_cost) as billed, sum(effective_cost) as effective
    from charges
    cross join bases
    group by billing_period, billing_currency, coalesce(invoice_issuer_name, provider_name, source), basis
    union all
    select
        billing_period, currency, issuer, bases.basis,
        case target when 'model' then 'attributed' else target end, sum(billed), sum(effective)
    from parts
    join bases on parts.basis = 'usage' or bases.basis = 'allocation'
    group by billing_period, currency, issuer, bases.basis, target
),
wanted as (
    select billing_period, currency, issuer, basis, line, billed, effective
    from lines
    union all
    select
        billing_period, currency, issuer, basis, 'difference',
        sum(case when line = 'bill' then billed else -billed end),
        sum(case when line = 'bill' then effective else -effective end)
    from lines
    group by billing_period, currency, issuer, basis
),
rejected as (
    select "interval" as billing_period, count(*) as rows
    from quarantine
    where kind = 'charges'
    group by "interval"
),
told as (
    select billing_period, sum(case when line = 'quarantined' then rows else 0 end) as rows
    from reconciliation
    group by billing_period
)
select
    wanted.billing_period, wanted.currency, wanted.issuer, wanted.basis, wanted.line,
    wanted.billed, found.billed as billed_found, wanted.effective, found.effective as effective_found
from wanted
left join reconciliation as found
    on found.billing_period = wanted.billing_period
    and found.currency = wanted.currency
    and found.issuer = wanted.issuer
    and found.basis = wanted.basis
    and found.line = wanted.line
where (wanted.billed is distinct from found.billed)
    or (wanted.effective is distinct from found.effective)
    or (wanted.line = 'difference' and (wanted.billed <> 0 or wanted.effective <> 0))
union all
select
    left_over.billing_period, left_over.currency, left_over.issuer, left_over.basis, left_over.line,
    cast(null as decimal(38, 18)) as billed, left_over.billed as billed_found,
    cast(null as decimal(38, 18)) as effective, left_over.effective as effective_found
from reconciliation as left_over
where line = 'difference' and (left_over.billed <> 0 or left_over.effective <> 0)
union all
select
    rejected.billing_period, null, null, null, 'quarantined: ' || rejected.rows || ' rows, told ' || told.rows,
    null, null, null, null
from rejected
join told on told.billing_period = rejected.billing_period
where told.rows < rejected.rows
