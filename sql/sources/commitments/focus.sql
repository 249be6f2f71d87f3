-- FOCUS 1.3 and later, Contract Commitment, Parquet or CSV → commitments: one row per commitment.
-- optional: ContractCommitmentDescription, ContractCommitmentCategory, ContractCommitmentType, ContractCommitmentCost
-- optional: ContractCommitmentLifecycleStatus, ContractCommitmentPaymentModel, ContractCommitmentQuantity
-- optional: ContractCommitmentUnit, ContractCommitmentLastUpdated, ContractId, InvoiceIssuerName
select
    _row,
    known("ContractCommitmentId") as contract_commitment_id,
    known("ContractCommitmentDescription") as contract_commitment_description,
    known("ContractCommitmentCategory") as contract_commitment_category,
    known("ContractCommitmentType") as contract_commitment_type,
    known("ContractCommitmentLifecycleStatus") as contract_commitment_lifecycle_status,
    known("ContractCommitmentPaymentModel") as contract_commitment_payment_model,
    known("ContractCommitmentCost") as contract_commitment_cost,
    known("ContractCommitmentQuantity") as contract_commitment_quantity,
    known("ContractCommitmentUnit") as contract_commitment_unit,
    known("ContractCommitmentPeriodStart") as contract_commitment_period_start,
    known("ContractCommitmentPeriodEnd") as contract_commitment_period_end,
    known("ContractCommitmentLastUpdated") as contract_commitment_last_updated,
    known("ContractId") as contract_id,
    known("InvoiceIssuerName") as invoice_issuer_name,
    known("BillingCurrency") as billing_currency
from source
