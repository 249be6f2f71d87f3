-- Per commitment, what was billed for it (Purchase) against the effective cost of its usage, used and unused, where the usage
-- covers the whole time that was purchased: the two are the same cost. A minor unit is allowed for what issuers round.
-- Inputs: charges.
with bought as (
    select
        commitment_discount_id,
        billing_currency as currency,
        min(invoice_issuer_name) as issuer,
        sum(billed_cost) as billed,
        min(charge_period_start) as since,
        max(charge_period_end) as until
    from charges
    where charge_category = 'Purchase' and commitment_discount_id is not null
    group by commitment_discount_id, billing_currency
),
used as (
    select
        commitment_discount_id,
        billing_currency as currency,
        count(*) as rows,
        sum(effective_cost) as effective,
        min(charge_period_start) as since,
        max(charge_period_end) as until
    from charges
    where charge_category = 'Usage' and commitment_discount_id is not null
    group by commitment_discount_id, billing_currency
)
select
    bought.commitment_discount_id as subject,
    bought.issuer,
    bought.currency as unit,
    used.rows,
    bought.billed as stated,
    used.effective as found,
    per(invoice_tolerance(bought.currency, 0), 1, 100) as tolerance
from bought
join used on used.commitment_discount_id = bought.commitment_discount_id and used.currency = bought.currency
where used.since <= bought.since and used.until >= bought.until
