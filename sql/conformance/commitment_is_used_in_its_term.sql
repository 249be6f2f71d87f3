-- Per commitment of the Contract Commitment data set, the effective cost of its usage, used and unused, before its term begins or
-- after it ends: there is none. Of a commitment that several deliveries state, the one updated last counts. Inputs:
-- commitments, charges.
with stated as (
    select *
    from commitments
    qualify row_number() over (
        partition by contract_commitment_id, billing_currency
        order by contract_commitment_last_updated desc nulls last, file desc, "row" desc
    ) = 1
)
select
    stated.contract_commitment_id as subject,
    coalesce(min(stated.invoice_issuer_name), min(charges.invoice_issuer_name)) as issuer,
    charges.billing_currency as unit,
    count(*) as rows,
    cast(0 as decimal(38, 18)) as stated,
    sum(
        case
            when charges.charge_period_start < stated.contract_commitment_period_start
                or charges.charge_period_end > stated.contract_commitment_period_end then abs(charges.effective_cost)
            else 0
        end
    ) as found,
    cast(0 as decimal(38, 18)) as tolerance
from stated
join charges
    on charges.commitment_discount_id = stated.contract_commitment_id
    and charges.billing_currency = stated.billing_currency
where charges.charge_category = 'Usage'
group by stated.contract_commitment_id, charges.billing_currency
