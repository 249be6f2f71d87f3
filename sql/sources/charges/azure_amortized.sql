-- Azure cost details, amortized cost (enterprise or customer agreement; CSV or Parquet) → charges: the rows of reservations and
-- savings plans, used and unused, which bring their effective cost and nothing billed. All others are those of the actual
-- cost and left out here. See azure_actual, without which this is no bill.
-- optional: Cost, CostInBillingCurrency, costInBillingCurrency, BillingCurrency, BillingCurrencyCode, billingCurrency
-- optional: Date, date, BillingPeriodStartDate, billingPeriodStartDate, BillingPeriodEndDate, billingPeriodEndDate
-- optional: ChargeType, chargeType, PricingModel, pricingModel, Frequency, frequency, BillingAccountId
-- optional: billingAccountId, BillingAccountName, billingAccountName, SubscriptionId, subscriptionId
-- optional: SubscriptionName, subscriptionName, InvoiceId, invoiceId, Product, ProductName, productName, PartNumber
-- optional: ProductId, productId, MeterCategory, meterCategory, MeterSubCategory, meterSubCategory, MeterName
-- optional: meterName, ServiceFamily, serviceFamily, ResourceId, resourceId, InstanceName, ResourceName, resourceName
-- optional: ConsumedService, consumedService, ResourceLocation, resourceLocation, Quantity, quantity, UnitOfMeasure
-- optional: unitOfMeasure, PublisherType, publisherType, PublisherName, publisherName, ReservationId, reservationId
-- optional: benefitId, BenefitId, Tags, tags
with named as (
    select
        _row,
        coalesce(known(text("Cost")), known(text("CostInBillingCurrency")), known(text("costInBillingCurrency"))) as cost,
        coalesce(known(text("BillingCurrency")), known(text("BillingCurrencyCode")), known(text("billingCurrency"))) as currency,
        coalesce(known(text("Date")), known(text("date"))) as day,
        coalesce(known(text("BillingPeriodStartDate")), known(text("billingPeriodStartDate"))) as period_start,
        coalesce(known(text("BillingPeriodEndDate")), known(text("billingPeriodEndDate"))) as period_end,
        coalesce(known(text("ChargeType")), known(text("chargeType"))) as charge_type,
        coalesce(known(text("PricingModel")), known(text("pricingModel"))) as pricing_model,
        coalesce(known(text("Frequency")), known(text("frequency"))) as frequency,
        coalesce(known(text("BillingAccountId")), known(text("billingAccountId"))) as account,
        coalesce(known(text("BillingAccountName")), known(text("billingAccountName"))) as account_name,
        coalesce(known(text("SubscriptionId")), known(text("subscriptionId"))) as subscription,
        coalesce(known(text("SubscriptionName")), known(text("subscriptionName"))) as subscription_name,
        coalesce(known(text("InvoiceId")), known(text("invoiceId"))) as invoice,
        coalesce(known(text("Product")), known(text("ProductName")), known(text("productName"))) as product,
        coalesce(known(text("PartNumber")), known(text("ProductId")), known(text("productId"))) as part,
        coalesce(known(text("MeterCategory")), known(text("meterCategory"))) as meter_category,
        coalesce(known(text("MeterSubCategory")), known(text("meterSubCategory"))) as meter_subcategory,
        coalesce(known(text("MeterName")), known(text("meterName"))) as meter,
        coalesce(known(text("ServiceFamily")), known(text("serviceFamily"))) as family,
        coalesce(known(text("ResourceId")), known(text("resourceId")), known(text("InstanceName"))) as resource,
        coalesce(known(text("ResourceName")), known(text("resourceName"))) as resource_name,
        coalesce(known(text("ConsumedService")), known(text("consumedService"))) as consumed_service,
        coalesce(known(text("ResourceLocation")), known(text("resourceLocation"))) as region,
        coalesce(known(text("Quantity")), known(text("quantity"))) as quantity,
        coalesce(known(text("UnitOfMeasure")), known(text("unitOfMeasure"))) as unit,
        coalesce(known(text("PublisherType")), known(text("publisherType"))) as publisher_type,
        coalesce(known(text("PublisherName")), known(text("publisherName"))) as publisher,
        coalesce(known(text("ReservationId")), known(text("reservationId"))) as reservation,
        coalesce(known(text("benefitId")), known(text("BenefitId"))) as benefit,
        coalesce(known(text("Tags")), known(text("tags"))) as tags
    from source
), lines as (
    select
        * except (day, period_start, period_end, tags),
        -- Dates are MM/DD/YYYY in a CSV and dates in Parquet.
        case when day like '%/%/%' then concat(split_part(day, '/', 3), '-', lpad(split_part(day, '/', 1), 2, '0'), '-', lpad(split_part(day, '/', 2), 2, '0')) else substr(day, 1, 10) end as day,
        case when period_start like '%/%/%' then concat(split_part(period_start, '/', 3), '-', lpad(split_part(period_start, '/', 1), 2, '0'), '-', lpad(split_part(period_start, '/', 2), 2, '0')) else substr(period_start, 1, 10) end as period_start,
        case when period_end like '%/%/%' then concat(split_part(period_end, '/', 3), '-', lpad(split_part(period_end, '/', 1), 2, '0'), '-', lpad(split_part(period_end, '/', 2), 2, '0')) else substr(period_end, 1, 10) end as period_end,
        -- Tags are an object, or in a CSV of an enterprise agreement the inside of one.
        case when ltrim(tags) like '{%' then tags when tags is not null then concat('{', tags, '}') end as tags,
        coalesce(pricing_model, '') in ('Reservation', 'SavingsPlan')
            or coalesce(charge_type, '') in ('UnusedReservation', 'UnusedSavingsPlan')
            or (pricing_model is null and coalesce(benefit, reservation) is not null) as is_commitment
    from named
)
select
    _row,
    '0' as billed_cost,
    cost as effective_cost,
    currency as billing_currency,
    account as billing_account_id,
    account_name as billing_account_name,
    period_start as billing_period_start,
    -- The last day of the period is still in it.
    try_cast(period_end as date) + interval '1 day' as billing_period_end,
    day as charge_period_start,
    try_cast(day as date) + interval '1 day' as charge_period_end,
    case
        when charge_type in ('UnusedReservation', 'UnusedSavingsPlan') then 'Usage'
        when charge_type = 'Refund' and is_commitment then 'Purchase'
        when charge_type = 'Refund' then 'Credit'
        when charge_type in ('Usage', 'Purchase', 'Credit', 'Tax') then charge_type
        when charge_type is not null then 'Adjustment'
    end as charge_category,
    case when charge_type = 'Refund' then 'Correction' end as charge_class,
    product as charge_description,
    case frequency when 'OneTime' then 'One-Time' when 'Recurring' then 'Recurring' when 'UsageBased' then 'Usage-Based' else frequency end as charge_frequency,
    'Microsoft' as invoice_issuer_name,
    invoice as invoice_id,
    'Microsoft' as provider_name,
    publisher as publisher_name,
    subscription as sub_account_id,
    subscription_name as sub_account_name,
    case
        when meter_category = 'Storage' then 'Storage'
        when meter_category in ('Bandwidth', 'Virtual Network', 'Load Balancer', 'VPN Gateway', 'Azure DNS', 'Application Gateway') then 'Networking'
        when meter_category in ('Virtual Machines', 'Container Instances', 'Functions') then 'Compute'
        when family in ('Compute', 'Containers') then 'Compute'
        when family = 'AI + Machine Learning' then 'AI and Machine Learning'
        else family
    end as service_category,
    case when publisher_type = 'Marketplace' then 'Marketplace' else meter_subcategory end as service_subcategory,
    coalesce(meter_category, consumed_service) as service_name,
    part as sku_id,
    meter as sku_meter,
    region as region_id,
    resource as resource_id,
    resource_name,
    case
        when is_commitment and charge_type <> 'Purchase' then 'Committed'
        when pricing_model = 'Spot' then 'Dynamic'
        else 'Standard'
    end as pricing_category,
    quantity as pricing_quantity,
    unit as pricing_unit,
    case when is_commitment then coalesce(benefit, reservation) end as commitment_discount_id,
    case when is_commitment then case when pricing_model = 'SavingsPlan' or charge_type = 'UnusedSavingsPlan' then 'Spend' else 'Usage' end end
        as commitment_discount_category,
    case when is_commitment then case when pricing_model = 'SavingsPlan' or charge_type = 'UnusedSavingsPlan' then 'Savings Plan' else 'Reservation' end end
        as commitment_discount_type,
    case
        when charge_type in ('UnusedReservation', 'UnusedSavingsPlan') then 'Unused'
        when is_commitment and charge_type = 'Usage' then 'Used'
    end as commitment_discount_status,
    tags
from lines
where is_commitment
