-- The attributed cost as a FOCUS 1.4 Cost and Usage data set: one row per allocation, so that all rows add up to the bill.
-- Inputs: allocations, charges (one billing period).
-- Columns of the original charge keep their FOCUS names; what FOCUS wants and the charge does not have is the nearest that
-- is known. The program splits ListCost, ContractedCost and the quantities like the cost, and adds AllocatedTags and
-- AllocatedMethodDetails. The order is needed: rows of one charge stand together.
-- Idle that moved on (x_Basis allocation) belongs to a pool and not to a charge: it takes who and what from one of the
-- charges behind the pool, and has no prices and quantities.
with behind as (
    select
        'idle/' || rule || '/' || resource_id || '/'
            || to_char(charge_period_start, '%Y-%m-%dT%H:%M:%SZ') || '/'
            || to_char(charge_period_end, '%Y-%m-%dT%H:%M:%SZ') || '/' || currency as pool,
        min(charges.row_id) as row_id
    from allocations
    join charges on charges.row_id = allocations.row_id
    where basis = 'usage' and target = 'idle' and resource_id is not null
    group by pool
),
parts as (
    select
        allocations.*,
        coalesce(behind.row_id, allocations.row_id) as charge,
        allocations.basis = 'allocation' as moved,
        -- Of idle that moved on: so that it is read again as what it is.
        case
            when allocations.basis = 'usage' then null
            when category = 'compute' then 'Compute'
            when category = 'storage' then 'Storage'
            when category = 'network' then 'Networking'
            when category = 'operations' then 'Management and Governance'
            else 'Other'
        end as moved_category
    from allocations
    left join behind on behind.pool = allocations.row_id
)
select
    parts.rule as "AllocatedMethodId",
    coalesce(parts.model_id, parts.target) as "AllocatedResourceId",
    coalesce(parts.model_id, parts.target) as "AllocatedResourceName",
    charges.availability_zone as "AvailabilityZone",
    parts.billed as "BilledCost",
    coalesce(charges.billing_account_id, charges.source, parts.issuer) as "BillingAccountId",
    charges.billing_account_name as "BillingAccountName",
    parts.currency as "BillingCurrency",
    coalesce(
        charges.billing_period_end,
        arrow_cast(cast(parts.billing_period || '-01' as date) + interval '1 month', 'Timestamp(Microsecond, Some("UTC"))')
    ) as "BillingPeriodEnd",
    coalesce(
        charges.billing_period_start,
        arrow_cast(cast(parts.billing_period || '-01' as date), 'Timestamp(Microsecond, Some("UTC"))')
    ) as "BillingPeriodStart",
    charges.capacity_reservation_id as "CapacityReservationId",
    charges.capacity_reservation_status as "CapacityReservationStatus",
    coalesce(charges.charge_category, parts.charge_category) as "ChargeCategory",
    charges.charge_class as "ChargeClass",
    charges.charge_description as "ChargeDescription",
    coalesce(
        charges.charge_frequency,
        case when parts.charge_category = 'Usage' then 'Usage-Based' else 'One-Time' end
    ) as "ChargeFrequency",
    coalesce(
        charges.charge_period_end,
        arrow_cast(parts.day + interval '1 day', 'Timestamp(Microsecond, Some("UTC"))')
    ) as "ChargePeriodEnd",
    coalesce(
        charges.charge_period_start,
        arrow_cast(parts.day, 'Timestamp(Microsecond, Some("UTC"))')
    ) as "ChargePeriodStart",
    charges.commitment_discount_category as "CommitmentDiscountCategory",
    charges.commitment_discount_id as "CommitmentDiscountId",
    charges.commitment_discount_status as "CommitmentDiscountStatus",
    charges.commitment_discount_type as "CommitmentDiscountType",
    case when not parts.moved then charges.consumed_quantity end as "ConsumedQuantity",
    case when not parts.moved then charges.consumed_unit end as "ConsumedUnit",
    case when parts.moved then cast(0 as decimal(38, 18)) else coalesce(charges.contracted_cost, charges.billed_cost) end as "ContractedCost",
    parts.effective as "EffectiveCost",
    coalesce(charges.publisher_name, charges.provider_name, parts.issuer) as "HostProviderName",
    charges.invoice_id as "InvoiceId",
    parts.issuer as "InvoiceIssuerName",
    case
        when parts.moved then cast(0 as decimal(38, 18))
        else coalesce(charges.list_cost, charges.contracted_cost, charges.billed_cost)
    end as "ListCost",
    case when not parts.moved then charges.pricing_category end as "PricingCategory",
    case when not parts.moved then charges.pricing_quantity end as "PricingQuantity",
    case when not parts.moved then charges.pricing_unit end as "PricingUnit",
    charges.region_id as "RegionId",
    charges.resource_id as "ResourceId",
    charges.resource_name as "ResourceName",
    charges.resource_type as "ResourceType",
    coalesce(parts.moved_category, charges.service_category, 'Other') as "ServiceCategory",
    coalesce(charges.service_name, charges.service_category, parts.charge_category) as "ServiceName",
    coalesce(charges.provider_name, parts.issuer) as "ServiceProviderName",
    coalesce(
        'Other (' || parts.moved_category || ')',
        charges.service_subcategory,
        'Other (' || charges.service_category || ')',
        'Other (Other)'
    ) as "ServiceSubcategory",
    case when not parts.moved then charges.sku_id end as "SkuId",
    case when not parts.moved then charges.sku_meter end as "SkuMeter",
    case when not parts.moved then charges.sku_price_id end as "SkuPriceId",
    charges.sub_account_id as "SubAccountId",
    charges.sub_account_name as "SubAccountName",
    charges.tags as "Tags",
    parts.basis as "x_Basis",
    parts.category as "x_Category",
    parts.driver as "x_Driver",
    parts.model_id as "x_ModelId",
    parts.model_version as "x_ModelVersion",
    parts.reason as "x_Reason",
    parts.rule_version as "x_RuleVersion",
    charges.x_source_kind as "x_source_kind",
    parts.row_id as "x_SplitOriginId",
    parts.stage as "x_Stage",
    parts.target as "x_Target",
    parts.weight as "x_Weight",
    parts.weight_total as "x_WeightTotal"
from parts
left join charges on charges.row_id = parts.charge
order by "x_SplitOriginId", "x_Basis", "x_Target", "x_ModelId", "x_ModelVersion", "x_Stage", "x_Category"
