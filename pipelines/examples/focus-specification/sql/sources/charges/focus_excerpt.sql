-- Excerpts of FOCUS bills → charges. They leave out what they are not about; what it is said to be stands here: US dollars, and
-- for those without periods, effective cost or issuer, May 2026, the billed cost and the specification itself.
-- optional: EffectiveCost, BillingCurrency, BillingPeriodStart, BillingPeriodEnd, ChargePeriodStart, ChargePeriodEnd, ChargeClass
-- optional: ChargeDescription, ChargeFrequency, InvoiceId, ResourceId, CommitmentDiscountId, CommitmentDiscountStatus
-- optional: PricingCategory, ConsumedQuantity, ConsumedUnit, PricingQuantity, PricingUnit, SkuId, SkuPriceId, AllocatedMethodId
select
    _row,
    known("BilledCost") as billed_cost,
    coalesce(known("EffectiveCost"), known("BilledCost")) as effective_cost,
    coalesce(known("BillingCurrency"), 'USD') as billing_currency,
    coalesce(known("BillingPeriodStart"), '2026-05-01') as billing_period_start,
    coalesce(known("BillingPeriodEnd"), '2026-06-01') as billing_period_end,
    coalesce(known("ChargePeriodStart"), '2026-05-01') as charge_period_start,
    coalesce(known("ChargePeriodEnd"), '2026-06-01') as charge_period_end,
    known("ChargeCategory") as charge_category,
    known("ChargeClass") as charge_class,
    known("ChargeDescription") as charge_description,
    known("ChargeFrequency") as charge_frequency,
    'FOCUS' as invoice_issuer_name,
    known("InvoiceId") as invoice_id,
    known("ResourceId") as resource_id,
    known("PricingCategory") as pricing_category,
    known("PricingQuantity") as pricing_quantity,
    known("PricingUnit") as pricing_unit,
    known("ConsumedQuantity") as consumed_quantity,
    known("ConsumedUnit") as consumed_unit,
    known("SkuId") as sku_id,
    known("SkuPriceId") as sku_price_id,
    known("CommitmentDiscountId") as commitment_discount_id,
    known("CommitmentDiscountStatus") as commitment_discount_status,
    known("AllocatedMethodId") as allocated_method_id
from source
