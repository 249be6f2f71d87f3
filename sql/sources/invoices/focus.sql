-- FOCUS 1.4 Invoice Detail, Parquet or CSV → invoices: one row per line of an invoice.
-- optional: InvoiceDetailId, InvoiceDetailDescription, InvoiceIssuerName, InvoiceIssueStatus, InvoiceIssueDate
-- optional: PaymentDueDate, BillingAccountId, ChargeCategory
select
    _row,
    known("InvoiceId") as invoice_id,
    known("InvoiceDetailId") as invoice_detail_id,
    known("InvoiceDetailDescription") as invoice_detail_description,
    known("InvoiceIssuerName") as invoice_issuer_name,
    known("InvoiceIssueStatus") as invoice_issue_status,
    known("InvoiceIssueDate") as invoice_issue_date,
    known("PaymentDueDate") as payment_due_date,
    known("BillingAccountId") as billing_account_id,
    known("ChargeCategory") as charge_category,
    known("BillingCurrency") as billing_currency,
    known("BilledCost") as billed_cost,
    known("BillingPeriodStart") as billing_period_start,
    known("BillingPeriodEnd") as billing_period_end
from source
