//! The columns of `charges`, `invoices` and `commitments`: the FOCUS names in snake_case, and where the row came from.

use super::contract::{Check, Column, Type};
use Type::{Int32, Int64, Money, Residue, Text, Timestamp};

const fn col(name: &'static str, ty: Type, required: bool, doc: &'static str) -> Column {
    Column {
        name,
        ty,
        required,
        unit: "",
        doc,
        checks: &[],
        distinct: false,
    }
}

const fn text(name: &'static str, doc: &'static str) -> Column {
    col(name, Text, false, doc)
}

const fn money(name: &'static str, required: bool, doc: &'static str) -> Column {
    Column {
        unit: "billing_currency",
        ..col(name, Money, required, doc)
    }
}

const fn checked(column: Column, checks: &'static [Check]) -> Column {
    Column { checks, ..column }
}

/// The columns of `charges`.
pub const CHARGES: &[Column] = &[
    Column {
        distinct: true,
        ..col(
            "row_id",
            Text,
            true,
            "id of what the charge says, 32 hexadecimal digits: the same wherever its row stands and whenever its bill comes again",
        )
    },
    col("delivery_id", Text, true, "delivery that brought it"),
    col(
        "source",
        Text,
        true,
        "name of the source in the pipeline file",
    ),
    col(
        "file",
        Text,
        true,
        "path of the file, as the source's pattern gives it",
    ),
    col(
        "row",
        Int64,
        true,
        "row number in the file, from 1, a CSV's header not counted",
    ),
    col(
        "part",
        Int32,
        false,
        "which of the charges that the dialect makes of the row, from 0; null where it makes one",
    ),
    money("billed_cost", true, "BilledCost: what the invoice asks for"),
    money("effective_cost", true, "EffectiveCost: cost as incurred"),
    col(
        "billed_rounding",
        Residue,
        false,
        "what rounding to 18 places took from BilledCost; null where nothing was lost",
    ),
    col(
        "effective_rounding",
        Residue,
        false,
        "what rounding to 18 places took from EffectiveCost; null where nothing was lost",
    ),
    money("list_cost", false, "ListCost"),
    money("contracted_cost", false, "ContractedCost"),
    checked(
        col("billing_currency", Text, true, "BillingCurrency, ISO 4217"),
        &[Check::Currency],
    ),
    text("billing_account_id", "BillingAccountId"),
    text("billing_account_name", "BillingAccountName"),
    checked(
        col(
            "billing_period_start",
            Timestamp,
            true,
            "BillingPeriodStart, UTC",
        ),
        &[Check::PlausibleTime],
    ),
    checked(
        col(
            "billing_period_end",
            Timestamp,
            true,
            "BillingPeriodEnd, UTC, not itself in the period",
        ),
        &[Check::After("billing_period_start"), Check::PlausibleTime],
    ),
    checked(
        col(
            "charge_period_start",
            Timestamp,
            true,
            "ChargePeriodStart, UTC",
        ),
        &[Check::PlausibleTime],
    ),
    checked(
        col(
            "charge_period_end",
            Timestamp,
            true,
            "ChargePeriodEnd, UTC, not itself in the period",
        ),
        &[Check::After("charge_period_start"), Check::PlausibleTime],
    ),
    col(
        "charge_category",
        Text,
        true,
        "ChargeCategory: Usage, Purchase, Tax, Credit, Adjustment",
    ),
    text("charge_class", "ChargeClass: Correction, or null"),
    text("charge_description", "ChargeDescription"),
    text("charge_frequency", "ChargeFrequency"),
    text("invoice_issuer_name", "InvoiceIssuerName"),
    text("invoice_id", "InvoiceId"),
    text(
        "provider_name",
        "ProviderName (1.3 and later: ServiceProviderName)",
    ),
    text(
        "publisher_name",
        "PublisherName (1.3 and later: HostProviderName)",
    ),
    text("sub_account_id", "SubAccountId"),
    text("sub_account_name", "SubAccountName"),
    text("service_category", "ServiceCategory"),
    text("service_subcategory", "ServiceSubcategory"),
    text("service_name", "ServiceName"),
    text("sku_id", "SkuId"),
    text("sku_price_id", "SkuPriceId"),
    text("sku_meter", "SkuMeter"),
    text("region_id", "RegionId"),
    text("availability_zone", "AvailabilityZone"),
    text("resource_id", "ResourceId"),
    text("resource_name", "ResourceName"),
    text("resource_type", "ResourceType"),
    text("pricing_category", "PricingCategory"),
    col("pricing_quantity", Money, false, "PricingQuantity"),
    text("pricing_unit", "PricingUnit"),
    col("consumed_quantity", Money, false, "ConsumedQuantity"),
    text("consumed_unit", "ConsumedUnit"),
    text("commitment_discount_id", "CommitmentDiscountId"),
    text("commitment_discount_category", "CommitmentDiscountCategory"),
    text("commitment_discount_type", "CommitmentDiscountType"),
    text(
        "commitment_discount_status",
        "CommitmentDiscountStatus: Used or Unused",
    ),
    text("capacity_reservation_id", "CapacityReservationId"),
    text(
        "capacity_reservation_status",
        "CapacityReservationStatus: Used or Unused",
    ),
    text(
        "allocated_method_id",
        "AllocatedMethodId: the provider has split this row already",
    ),
    text(
        "allocated_method_details",
        "AllocatedMethodDetails, a JSON object",
    ),
    checked(
        text("allocated_tags", "AllocatedTags, a JSON object"),
        &[Check::JsonObject],
    ),
    text(
        "x_source_kind",
        "labour, licence or hardware for rows of the finance ledger",
    ),
    checked(
        text("tags", "Tags as delivered, a JSON object"),
        &[Check::JsonObject],
    ),
];

/// The columns of `invoices`.
pub const INVOICES: &[Column] = &[
    CHARGES[1],
    CHARGES[2],
    CHARGES[3],
    CHARGES[4],
    col("invoice_id", Text, true, "InvoiceId"),
    text("invoice_detail_id", "InvoiceDetailId"),
    text("invoice_detail_description", "InvoiceDetailDescription"),
    text("invoice_issuer_name", "InvoiceIssuerName"),
    text("invoice_issue_status", "InvoiceIssueStatus"),
    col(
        "invoice_issue_date",
        Timestamp,
        false,
        "InvoiceIssueDate, UTC",
    ),
    col("payment_due_date", Timestamp, false, "PaymentDueDate, UTC"),
    text("billing_account_id", "BillingAccountId"),
    text(
        "charge_category",
        "ChargeCategory, where the line is for one",
    ),
    checked(
        col("billing_currency", Text, true, "BillingCurrency, ISO 4217"),
        &[Check::Currency],
    ),
    money("billed_cost", true, "BilledCost of the line"),
    checked(
        col(
            "billing_period_start",
            Timestamp,
            true,
            "BillingPeriodStart, UTC",
        ),
        &[Check::PlausibleTime],
    ),
    checked(
        col(
            "billing_period_end",
            Timestamp,
            true,
            "BillingPeriodEnd, UTC, not itself in the period",
        ),
        &[Check::After("billing_period_start"), Check::PlausibleTime],
    ),
];

/// The columns of `commitments`.
pub const COMMITMENTS: &[Column] = &[
    CHARGES[1],
    CHARGES[2],
    CHARGES[3],
    CHARGES[4],
    col(
        "contract_commitment_id",
        Text,
        true,
        "ContractCommitmentId; charges name it as CommitmentDiscountId",
    ),
    text(
        "contract_commitment_description",
        "ContractCommitmentDescription",
    ),
    text(
        "contract_commitment_category",
        "ContractCommitmentCategory: Spend or Usage",
    ),
    text("contract_commitment_type", "ContractCommitmentType"),
    text(
        "contract_commitment_lifecycle_status",
        "ContractCommitmentLifecycleStatus",
    ),
    text(
        "contract_commitment_payment_model",
        "ContractCommitmentPaymentModel",
    ),
    money(
        "contract_commitment_cost",
        false,
        "ContractCommitmentCost: what the whole term costs",
    ),
    Column {
        unit: "contract_commitment_unit",
        ..col(
            "contract_commitment_quantity",
            Money,
            false,
            "ContractCommitmentQuantity",
        )
    },
    text("contract_commitment_unit", "ContractCommitmentUnit"),
    checked(
        col(
            "contract_commitment_period_start",
            Timestamp,
            true,
            "ContractCommitmentPeriodStart, UTC: when the term begins",
        ),
        &[Check::PlausibleTime],
    ),
    checked(
        col(
            "contract_commitment_period_end",
            Timestamp,
            true,
            "ContractCommitmentPeriodEnd, UTC, not itself in the term",
        ),
        &[
            Check::After("contract_commitment_period_start"),
            Check::PlausibleTime,
        ],
    ),
    col(
        "contract_commitment_last_updated",
        Timestamp,
        false,
        "ContractCommitmentLastUpdated, UTC",
    ),
    text("contract_id", "ContractId"),
    text("invoice_issuer_name", "InvoiceIssuerName"),
    checked(
        col("billing_currency", Text, true, "BillingCurrency, ISO 4217"),
        &[Check::Currency],
    ),
];
