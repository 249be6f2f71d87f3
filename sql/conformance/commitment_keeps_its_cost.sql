-- Per commitment of the Contract Commitment data set, the cost of its whole term against the effective cost of its usage, used
-- and unused: the same once the usage covers the term, and before that never more. A minor unit is allowed for what issuers
-- round. Of a commitment that several deliveries state, the one updated last counts. Inputs: commitments, charges.
with stated as (
    select *
    from commitments
    where contract_commitment_cost is not null
    qualify row_number() over (
        partition by contract_commitment_id, billing_currency
        order by contract_commitment_last_updated desc nulls last, file desc, "row" desc
    ) = 1
),
used as (
    select
        commitment_discount_id,
        billing_currency as currency,
        min(invoice_issuer_name) as issuer,
        count(*) as rows,
        sum(effective_cost) as effective,
        min(charge_period_start) as since,
        max(charge_period_end) as until
    from charges
    where charge_category = 'Usage' and commitment_discount_id is not null
    group by commitment_discount_id, billing_currency
)
select
    stated.contract_commitment_id as subject,
    coalesce(stated.invoice_issuer_name, used.issuer) as issuer,
    used.currency as unit,
    used.rows,
    stated.contract_commitment_cost as stated,
    used.effective as found,
    per(invoice_tolerance(used.currency, 0), 1, 100) as tolerance
from stated
join used
    on used.commitment_discount_id = stated.contract_commitment_id
    and used.currency = stated.billing_currency
where
    (used.since <= stated.contract_commitment_period_start and used.until >= stated.contract_commitment_period_end)
    or used.effective > stated.contract_commitment_cost
