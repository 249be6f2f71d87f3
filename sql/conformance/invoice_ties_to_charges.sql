-- Per invoice, what its lines ask for against what its charges are billed at (FOCUS 1.4): they may differ by 100 minor units, or
-- by half a minor unit times the root of the number of charges where that is more. Invoices of the charges that the issuer's
-- invoice detail for that billing period does not have are among them. Inputs: invoices, charges.
with asked as (
    select
        invoice_id,
        billing_currency as currency,
        min(invoice_issuer_name) as issuer,
        sum(billed_cost) as billed
    from invoices
    group by invoice_id, billing_currency
),
covered as (
    select distinct invoice_issuer_name as issuer, billing_period from invoices
),
charged as (
    select
        invoice_id,
        billing_currency as currency,
        min(invoice_issuer_name) as issuer,
        min(billing_period) as billing_period,
        count(*) as rows,
        sum(billed_cost) as billed
    from charges
    where invoice_id is not null
    group by invoice_id, billing_currency
)
select
    coalesce(asked.invoice_id, charged.invoice_id) as subject,
    coalesce(asked.issuer, charged.issuer) as issuer,
    coalesce(asked.currency, charged.currency) as unit,
    coalesce(charged.rows, 0) as rows,
    coalesce(asked.billed, 0) as stated,
    coalesce(charged.billed, 0) as found,
    invoice_tolerance(coalesce(asked.currency, charged.currency), coalesce(charged.rows, 0)) as tolerance
from asked
full join charged on charged.invoice_id = asked.invoice_id and charged.currency = asked.currency
left join covered on covered.issuer = charged.issuer and covered.billing_period = charged.billing_period
where asked.invoice_id is not null or covered.issuer is not null
