-- FOCUS 1.0 to 1.4, any issuer, Parquet or CSV → charges: one row per row of the bill.
-- known() turns the texts that real exports write for null (empty, NULL, (null)) into null; json() writes a map as a JSON object.
-- 1.3 renamed ProviderName to ServiceProviderName and PublisherName to HostProviderName.
-- Eight columns are needed, since nothing stands in for them: both costs, currency, both periods and the category.
-- optional: ListCost, ContractedCost, BillingAccountId, BillingAccountName, ChargeClass, ChargeDescription
-- optional: ChargeFrequency, InvoiceIssuerName, InvoiceId, ProviderName, ServiceProviderName, PublisherName
-- optional: HostProviderName, SubAccountId, SubAccountName, ServiceCategory, ServiceSubcategory, ServiceName
-- optional: SkuId, SkuPriceId, SkuMeter, RegionId, AvailabilityZone, ResourceId, ResourceName, ResourceType
-- optional: PricingCategory, PricingQuantity, PricingUnit, ConsumedQuantity, ConsumedUnit, CommitmentDiscountId
-- optional: CommitmentDiscountCategory, CommitmentDiscountType, CommitmentDiscountStatus, CapacityReservationId
-- optional: CapacityReservationStatus, AllocatedMethodId, AllocatedMethodDetails, AllocatedTags, x_source_kind, Tags
select
    _row,
    known("BilledCost") as billed_cost,
    known("EffectiveCost") as effective_cost,
    known("ListCost") as list_cost,
    known("ContractedCost") as contracted_cost,
    known("BillingCurrency") as billing_currency,
    known("BillingAccountId") as billing_account_id,
    known("BillingAccountName") as billing_account_name,
    known("BillingPeriodStart") as billing_period_start,
    known("BillingPeriodEnd") as billing_period_end,
    known("ChargePeriodStart") as charge_period_start,
    known("ChargePeriodEnd") as charge_period_end,
    known("ChargeCategory") as charge_category,
    known("ChargeClass") as charge_class,
    known("ChargeDescription") as charge_description,
    -- Issuers differ in capitals: Usage-Based, Usage-based.
    case lower(known("ChargeFrequency"))
        when 'usage-based' then 'Usage-Based'
        when 'one-time' then 'One-Time'
        when 'recurring' then 'Recurring'
        else known("ChargeFrequency")
    end as charge_frequency,
    known("InvoiceIssuerName") as invoice_issuer_name,
    known("InvoiceId") as invoice_id,
    coalesce(known("ServiceProviderName"), known("ProviderName")) as provider_name,
    coalesce(known("HostProviderName"), known("PublisherName")) as publisher_name,
    known("SubAccountId") as sub_account_id,
    known("SubAccountName") as sub_account_name,
    known("ServiceCategory") as service_category,
    known("ServiceSubcategory") as service_subcategory,
    known("ServiceName") as service_name,
    known("SkuId") as sku_id,
    known("SkuPriceId") as sku_price_id,
    known("SkuMeter") as sku_meter,
    known("RegionId") as region_id,
    known("AvailabilityZone") as availability_zone,
    known("ResourceId") as resource_id,
    known("ResourceName") as resource_name,
    known("ResourceType") as resource_type,
    known("PricingCategory") as pricing_category,
    known("PricingQuantity") as pricing_quantity,
    known("PricingUnit") as pricing_unit,
    known("ConsumedQuantity") as consumed_quantity,
    known("ConsumedUnit") as consumed_unit,
    known("CommitmentDiscountId") as commitment_discount_id,
    known("CommitmentDiscountCategory") as commitment_discount_category,
    known("CommitmentDiscountType") as commitment_discount_type,
    known("CommitmentDiscountStatus") as commitment_discount_status,
    known("CapacityReservationId") as capacity_reservation_id,
    known("CapacityReservationStatus") as capacity_reservation_status,
    known("AllocatedMethodId") as allocated_method_id,
    json("AllocatedMethodDetails") as allocated_method_details,
    json("AllocatedTags") as allocated_tags,
    known("x_source_kind") as x_source_kind,
    json("Tags") as tags
from source
