//! Charges as Parquet with the columns of FOCUS 1.2, and the small harmless flaws that real exports have.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use serde_json::{Map, Value};

use super::charges::{Category, Charge, Commitment, midnight, month};
use super::error::GenerateError;
use super::parquet_out::write_once;
use super::snapshots::batch;

/// Units of a quantity at scale 18.
const ONE: i128 = 1_000_000_000_000_000_000;

/// Writes one delivery.
pub(super) fn write(path: &Path, charges: &[Charge]) -> Result<(), GenerateError> {
    write_once(path, &columns(charges)?, &[])
}

fn columns(charges: &[Charge]) -> Result<RecordBatch, GenerateError> {
    let text = |f: &dyn Fn(&Charge) -> Option<String>| -> ArrayRef {
        Arc::new(StringArray::from_iter(charges.iter().map(f)))
    };
    let word = |f: &dyn Fn(&Charge) -> Option<&'static str>| -> ArrayRef {
        Arc::new(StringArray::from_iter(charges.iter().map(f)))
    };
    let null = || -> ArrayRef { Arc::new(StringArray::new_null(charges.len())) };
    let money = |f: &dyn Fn(&Charge) -> Option<i128>| -> Result<ArrayRef, GenerateError> {
        Ok(Arc::new(
            Decimal128Array::from_iter(charges.iter().map(f)).with_precision_and_scale(38, 18)?,
        ))
    };
    let time = |f: &dyn Fn(&Charge) -> i64| -> ArrayRef {
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(charges.iter().map(f)).with_timezone("UTC"),
        )
    };
    let committed = |word: &'static str| move |c: &Charge| is_committed(c).then_some(word);
    let usage_quantity = |c: &Charge| {
        c.quantity
            .filter(|_| c.category == Category::Usage && c.commitment != Commitment::Unused)
    };

    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("AvailabilityZone", text(&|c| zone(c))),
        ("BilledCost", money(&|c| Some(c.amounts.billed))?),
        ("BillingAccountId", word(&|c| Some(c.issuer.account))),
        ("BillingAccountName", word(&|_| Some("Harbour Street Shop"))),
        ("BillingAccountType", word(&|_| Some("Organization"))),
        ("BillingCurrency", word(&|_| Some("USD"))),
        ("BillingPeriodEnd", time(&|c| midnight(month(c.period).1))),
        ("BillingPeriodStart", time(&|c| midnight(c.period))),
        ("CapacityReservationId", null()),
        ("CapacityReservationStatus", null()),
        ("ChargeCategory", word(&|c| Some(c.category.name()))),
        ("ChargeClass", null()),
        ("ChargeDescription", word(&|c| Some(c.product.description))),
        ("ChargeFrequency", word(&|c| Some(frequency(c)))),
        ("ChargePeriodEnd", time(&|c| c.end)),
        ("ChargePeriodStart", time(&|c| c.start)),
        ("CommitmentDiscountCategory", word(&committed("Spend"))),
        (
            "CommitmentDiscountId",
            word(&committed("commitment-2026-gpu-1y")),
        ),
        (
            "CommitmentDiscountName",
            word(&committed("GPU savings, one year")),
        ),
        (
            "CommitmentDiscountQuantity",
            money(&|c| is_committed(c).then_some(c.amounts.billed + c.amounts.effective))?,
        ),
        ("CommitmentDiscountStatus", word(&|c| status(c))),
        ("CommitmentDiscountType", word(&committed("Savings Plan"))),
        ("CommitmentDiscountUnit", word(&committed("USD"))),
        (
            "ConsumedQuantity",
            money(&|c| usage_quantity(c).map(|q| i128::from(q) * ONE))?,
        ),
        (
            "ConsumedUnit",
            word(&|c| usage_quantity(c).and(c.product.unit)),
        ),
        ("ContractedCost", money(&|c| Some(contracted(c)))?),
        (
            "ContractedUnitPrice",
            money(&|c| unit_price(c, contracted(c)))?,
        ),
        ("EffectiveCost", money(&|c| Some(c.amounts.effective))?),
        ("InvoiceId", text(&|c| Some(c.invoice_id()))),
        ("InvoiceIssuerName", word(&|c| Some(c.issuer.id))),
        ("ListCost", money(&|c| Some(list(c)))?),
        ("ListUnitPrice", money(&|c| unit_price(c, list(c)))?),
        ("PricingCategory", word(&|c| pricing(c))),
        ("PricingCurrency", word(&|_| Some("USD"))),
        (
            "PricingCurrencyContractedUnitPrice",
            money(&|c| unit_price(c, contracted(c)))?,
        ),
        (
            "PricingCurrencyEffectiveCost",
            money(&|c| Some(c.amounts.effective))?,
        ),
        (
            "PricingCurrencyListUnitPrice",
            money(&|c| unit_price(c, list(c)))?,
        ),
        (
            "PricingQuantity",
            money(&|c| c.quantity.map(|q| i128::from(q) * ONE))?,
        ),
        ("PricingUnit", word(&|c| c.quantity.and(c.product.unit))),
        ("ProviderName", word(&|c| Some(c.issuer.legal_name))),
        (
            "PublisherName",
            word(&|c| Some(c.product.publisher.unwrap_or(c.issuer.legal_name))),
        ),
        (
            "RegionId",
            word(&|c| regional(c).then_some(c.issuer.region.0)),
        ),
        (
            "RegionName",
            word(&|c| regional(c).then_some(c.issuer.region.1)),
        ),
        ("ResourceId", word(&|c| c.product.resource_id)),
        (
            "ResourceName",
            word(&|c| {
                if flawed(c, 0) {
                    Some("")
                } else {
                    c.product.resource_id
                }
            }),
        ),
        ("ResourceType", word(&|c| c.product.resource_type)),
        (
            "ServiceCategory",
            word(&|c| Some(c.product.service_category)),
        ),
        ("ServiceName", word(&|c| Some(c.product.service_name))),
        (
            "ServiceSubcategory",
            word(&|c| Some(c.product.service_subcategory)),
        ),
        (
            "SkuId",
            text(&|c| c.product.sku.map(|sku| format!("sku-{sku}"))),
        ),
        ("SkuMeter", word(&|c| c.product.sku.and(c.product.unit))),
        ("SkuPriceDetails", null()),
        (
            "SkuPriceId",
            text(&|c| c.product.sku.map(|sku| format!("sku-{sku}-usd"))),
        ),
        (
            "SubAccountId",
            word(&|c| regional(c).then_some("recommendations")),
        ),
        (
            "SubAccountName",
            word(&|c| {
                if flawed(c, 20) {
                    Some("")
                } else {
                    regional(c).then_some("Recommendations")
                }
            }),
        ),
        (
            "SubAccountType",
            word(&|c| regional(c).then_some("Project")),
        ),
        ("Tags", text(&|c| tags(c))),
    ];
    if charges.iter().any(|c| c.product.source_kind.is_some()) {
        columns.push(("x_source_kind", word(&|c| c.product.source_kind)));
    }
    batch(columns)
}

/// Whether this row has the flaw that is seen in 2 % of rows; `from` tells flaws apart.
fn flawed(charge: &Charge, from: u16) -> bool {
    (from..from + 20).contains(&charge.quirk)
}

fn regional(charge: &Charge) -> bool {
    charge.product.resource_id.is_some() && charge.product.source_kind.is_none()
}

fn is_committed(charge: &Charge) -> bool {
    charge.commitment != Commitment::None
}

fn zone(charge: &Charge) -> Option<String> {
    if flawed(charge, 40) {
        return Some(String::new());
    }
    (regional(charge) && charge.product.service_category == "Compute")
        .then(|| format!("{}a", charge.issuer.region.0))
}

fn status(charge: &Charge) -> Option<&'static str> {
    match charge.commitment {
        Commitment::Used => Some("Used"),
        Commitment::Unused => Some("Unused"),
        Commitment::None if flawed(charge, 60) => Some(""),
        _ => None,
    }
}

fn frequency(charge: &Charge) -> &'static str {
    match (charge.category, charge.commitment) {
        (Category::Credit, _) => "One-Time",
        (Category::Purchase, _) => "Recurring",
        // FOCUS spells it so; some issuers do not.
        _ if flawed(charge, 80) => "Usage-based",
        _ => "Usage-Based",
    }
}

fn pricing(charge: &Charge) -> Option<&'static str> {
    match (charge.category, charge.commitment) {
        (Category::Tax | Category::Credit, _) => None,
        (Category::Usage, Commitment::Used | Commitment::Unused) => Some("Committed"),
        _ => Some("Standard"),
    }
}

/// The cost at the contract's prices before commitments.
fn contracted(charge: &Charge) -> i128 {
    match charge.category {
        Category::Usage => charge.amounts.effective,
        _ => charge.amounts.billed,
    }
}

/// The cost at public prices: a fifth more than the contract's.
fn list(charge: &Charge) -> i128 {
    match charge.category {
        Category::Usage => charge.amounts.effective / 10 * 12,
        _ => charge.amounts.billed,
    }
}

/// The price of one unit where it can be written exactly.
fn unit_price(charge: &Charge, cost: i128) -> Option<i128> {
    let quantity = i128::from(charge.quantity.filter(|q| *q > 0)?);
    (cost % quantity == 0).then_some(cost / quantity)
}

fn tags(charge: &Charge) -> Option<String> {
    let Some(owner) = charge.tagged else {
        // Two ways to say that there are none.
        return charge.quirk.is_multiple_of(10).then(|| "{}".to_owned());
    };
    let mut tags = Map::new();
    let key = if flawed(charge, 100) {
        " Model"
    } else if flawed(charge, 120) {
        "Model"
    } else {
        "model"
    };
    tags.insert(key.to_owned(), owner.model.into());
    tags.insert("model_version".to_owned(), owner.version.into());
    tags.insert(
        if flawed(charge, 140) {
            "Stage "
        } else {
            "stage"
        }
        .to_owned(),
        owner.stage.name().into(),
    );
    tags.insert("team".to_owned(), "recommendations".into());
    Some(Value::Object(tags).to_string())
}
