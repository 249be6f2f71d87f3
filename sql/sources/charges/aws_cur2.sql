-- AWS CUR 2.0 (Data Exports, columns in snake_case), Parquet or gzipped CSV → charges.
--
-- billed is line_item_unblended_cost, so Σ billed is that of the export. effective by line_item_line_item_type:
--   DiscountedUsage            reservation_effective_cost: the used part of a reservation
--   SavingsPlanCoveredUsage    savings_plan_savings_plan_effective_cost: the used part of a savings plan
--   RIFee                      0; a part of its own, Unused: unused amortized upfront fee + unused recurring fee
--   SavingsPlanRecurringFee    0; a part of its own, Unused: total commitment to date − used commitment
--   SavingsPlanUpfrontFee, and a Fee with a reservation  0: paid once, spread over what it covers
--   SavingsPlanNegation        0
--   Usage, Tax, Credit, Refund, discounts, other fees and whatever else  the unblended cost
-- AWS bills usage under a savings plan at its on-demand price and takes that off again in a negation, a line without tags or
-- resource. So that nobody is billed for it, the price is a part of its own too: it and the negation are adjustments without
-- tags or resource, which end at one place and cancel out there.
-- Discounts and refunds are credits here: they follow what they reduce, by resource, service or account.
-- Where private discounts apply AWS gives each line a net cost beside, discount lines included, whose own is then 0. A line with
-- line_item_net_unblended_cost has all of the above net: the net unblended cost, the net effective cost of reservations and
-- plans, the net unused fees of a reservation, and of a plan's unused commitment as much as its net fee is of its fee.
-- An amount without duration (end not after start) gets a second. Tag keys lose the prefix user_ that AWS puts before them.
-- optional: bill_invoice_id, bill_invoicing_entity, bill_payer_account_name, line_item_usage_account_name
-- optional: line_item_availability_zone, line_item_legal_entity, line_item_line_item_description, line_item_operation
-- optional: line_item_resource_id, line_item_usage_amount, line_item_usage_type, pricing_public_on_demand_cost
-- optional: pricing_rate_code, pricing_term, pricing_unit, product, product_product_family, product_region_code, product_sku
-- optional: reservation_effective_cost, reservation_reservation_a_r_n, reservation_unused_amortized_upfront_fee_for_billing_period
-- optional: reservation_unused_recurring_fee, savings_plan_savings_plan_a_r_n, savings_plan_savings_plan_effective_cost
-- optional: savings_plan_total_commitment_to_date, savings_plan_used_commitment, resource_tags
-- optional: line_item_net_unblended_cost, reservation_net_effective_cost, savings_plan_net_savings_plan_effective_cost
-- optional: reservation_net_unused_amortized_upfront_fee_for_billing_period, reservation_net_unused_recurring_fee
-- optional: savings_plan_amortized_upfront_commitment_for_billing_period
-- optional: savings_plan_net_amortized_upfront_commitment_for_billing_period
-- optional: savings_plan_recurring_commitment_for_billing_period, savings_plan_net_recurring_commitment_for_billing_period
-- optional: capacity_reservation_capacity_reservation_arn, capacity_reservation_capacity_reservation_status
with costs as (
    -- Null is what the line has no net amount of.
    select
        *,
        coalesce(known(text(line_item_net_unblended_cost)), known(text(line_item_unblended_cost))) as unblended,
        coalesce(
            case when is_net then known(text(reservation_net_effective_cost)) end,
            known(text(reservation_effective_cost))
        ) as reserved,
        coalesce(
            case when is_net then known(text(savings_plan_net_savings_plan_effective_cost)) end,
            known(text(savings_plan_savings_plan_effective_cost))
        ) as planned,
        coalesce(
            case when is_net then known(text(reservation_net_unused_amortized_upfront_fee_for_billing_period)) end,
            known(text(reservation_unused_amortized_upfront_fee_for_billing_period))
        ) as unused_upfront,
        coalesce(
            case when is_net then known(text(reservation_net_unused_recurring_fee)) end,
            known(text(reservation_unused_recurring_fee))
        ) as unused_recurring,
        -- What of a plan's fee is left after discounts; 1 without any.
        coalesce(
            case
                when is_net then ratio(
                    coalesce(try_cast(known(text(savings_plan_net_amortized_upfront_commitment_for_billing_period)) as decimal(38, 18)), 0)
                    + coalesce(try_cast(known(text(savings_plan_net_recurring_commitment_for_billing_period)) as decimal(38, 18)), 0),
                    coalesce(try_cast(known(text(savings_plan_amortized_upfront_commitment_for_billing_period)) as decimal(38, 18)), 0)
                    + coalesce(try_cast(known(text(savings_plan_recurring_commitment_for_billing_period)) as decimal(38, 18)), 0)
                )
            end,
            1
        ) as plan_left
    from (select *, known(text(line_item_net_unblended_cost)) is not null as is_net from source)
), lines as (
    select
        *,
        known(line_item_line_item_type) as kind,
        known(reservation_reservation_a_r_n) as reservation,
        known(savings_plan_savings_plan_a_r_n) as savings_plan,
        try_cast(text(line_item_usage_start_date) as timestamp) as started,
        try_cast(text(line_item_usage_end_date) as timestamp) as ended,
        case known(line_item_line_item_type)
            when 'SavingsPlanRecurringFee' then
                case
                    when plan_left = 1 then
                        try_cast(known(text(savings_plan_total_commitment_to_date)) as decimal(38, 22))
                        - try_cast(known(text(savings_plan_used_commitment)) as decimal(38, 22))
                    else
                        times(
                            try_cast(known(text(savings_plan_total_commitment_to_date)) as decimal(38, 18))
                            - try_cast(known(text(savings_plan_used_commitment)) as decimal(38, 18)),
                            plan_left
                        )
                end
            when 'RIFee' then
                -- One of the two may be absent, by the way of payment.
                case
                    when unused_upfront is not null or unused_recurring is not null then
                        try_cast(coalesce(unused_upfront, '0') as decimal(38, 22))
                        + try_cast(coalesce(unused_recurring, '0') as decimal(38, 22))
                end
        end as unused,
        json(product) as product_json
    from costs
), parts as (
    -- What has a second part that is nothing needs none; where it cannot be read, it is there to be rejected.
    select
        *,
        unnest(case
            when kind in ('RIFee', 'SavingsPlanRecurringFee') then case when unused = 0 then [0] else [0, 1] end
            when kind = 'SavingsPlanCoveredUsage' then case when try_cast(unblended as decimal(38, 22)) = 0 then [0] else [0, 1] end
            else [0]
        end) as _part
    from lines
), charges as (
    select
        *,
        _part = 1 and kind in ('RIFee', 'SavingsPlanRecurringFee') as is_unused,
        kind = 'SavingsPlanNegation' or (_part = 1 and kind = 'SavingsPlanCoveredUsage') as is_negated,
        _part = 0 and kind in ('DiscountedUsage', 'SavingsPlanCoveredUsage') as is_covered
    from parts
)
select
    _row,
    _part,
    case when is_unused or (is_covered and kind = 'SavingsPlanCoveredUsage') then '0' else unblended end as billed_cost,
    case
        when is_unused then text(unused)
        when is_negated then '0'
        when kind = 'DiscountedUsage' then reserved
        when kind = 'SavingsPlanCoveredUsage' then planned
        when kind in ('SavingsPlanRecurringFee', 'SavingsPlanUpfrontFee', 'RIFee') then '0'
        when kind = 'Fee' and reservation is not null then '0'
        else unblended
    end as effective_cost,
    case when _part = 0 then known(text(pricing_public_on_demand_cost)) end as list_cost,
    known(line_item_currency_code) as billing_currency,
    known(text(bill_payer_account_id)) as billing_account_id,
    known(bill_payer_account_name) as billing_account_name,
    known(text(bill_billing_period_start_date)) as billing_period_start,
    known(text(bill_billing_period_end_date)) as billing_period_end,
    known(text(line_item_usage_start_date)) as charge_period_start,
    case when ended <= started then text(started + interval '1 second') else known(text(line_item_usage_end_date)) end as charge_period_end,
    case
        when kind is null then null
        when is_unused then 'Usage'
        when is_negated then 'Adjustment'
        when kind = 'Tax' then 'Tax'
        when kind in ('Fee', 'RIFee', 'SavingsPlanRecurringFee', 'SavingsPlanUpfrontFee') then 'Purchase'
        when kind in ('Credit', 'Refund') or kind like '%Discount' then 'Credit'
        else 'Usage'
    end as charge_category,
    case when kind = 'Refund' then 'Correction' end as charge_class,
    known(line_item_line_item_description) as charge_description,
    case
        when kind in ('RIFee', 'SavingsPlanRecurringFee') and _part = 0 then 'Recurring'
        when kind in ('Fee', 'SavingsPlanUpfrontFee', 'Tax', 'Credit', 'Refund') then 'One-Time'
        else 'Usage-Based'
    end as charge_frequency,
    coalesce(known(bill_invoicing_entity), 'AWS') as invoice_issuer_name,
    known(bill_invoice_id) as invoice_id,
    'AWS' as provider_name,
    known(line_item_legal_entity) as publisher_name,
    known(text(line_item_usage_account_id)) as sub_account_id,
    known(line_item_usage_account_name) as sub_account_name,
    case
        when product_product_family ilike '%storage%' or product_product_family ilike '%snapshot%' then 'Storage'
        when product_product_family in ('Data Transfer', 'IP Address', 'NAT Gateway') or product_product_family ilike 'load balancer%' then 'Networking'
        when line_item_product_code in ('AmazonS3', 'AmazonEFS', 'AmazonFSx', 'AmazonGlacier', 'AmazonECR', 'AWSBackup') then 'Storage'
        when line_item_product_code in ('AmazonVPC', 'AmazonCloudFront', 'AmazonRoute53', 'AWSELB', 'AWSDataTransfer', 'AWSDirectConnect') then 'Networking'
        when line_item_product_code in ('AmazonSageMaker', 'AmazonBedrock', 'AmazonPersonalize') then 'AI and Machine Learning'
        when line_item_product_code in ('AmazonRDS', 'AmazonDynamoDB', 'AmazonElastiCache', 'AmazonRedshift', 'AmazonMemoryDB') then 'Databases'
        when line_item_product_code in ('AmazonEC2', 'AWSLambda', 'AmazonECS', 'AmazonEKS', 'AWSBatch', 'ElasticMapReduce', 'ComputeSavingsPlans') then 'Compute'
        when line_item_product_code in ('AmazonCloudWatch', 'AWSCloudTrail', 'AWSConfig', 'AWSCostExplorer') then 'Management and Governance'
        when line_item_product_code in ('awskms', 'AWSSecretsManager', 'AmazonGuardDuty', 'awswaf') then 'Security'
    end as service_category,
    case when bill_billing_entity = 'AWS Marketplace' then 'Marketplace' else known(product_product_family) end as service_subcategory,
    coalesce(known(regexp_match(product_json, '"product_name"\s*:\s*"([^"]+)"')[1]), known(line_item_product_code)) as service_name,
    known(product_sku) as sku_id,
    known(pricing_rate_code) as sku_price_id,
    known(line_item_usage_type) as sku_meter,
    known(product_region_code) as region_id,
    known(line_item_availability_zone) as availability_zone,
    case when not is_negated then known(line_item_resource_id) end as resource_id,
    case
        when is_unused or is_covered then 'Committed'
        when known(pricing_term) = 'Spot' then 'Dynamic'
        when is_negated or kind in ('Tax', 'Credit', 'Refund') or kind like '%Discount' then null
        else 'Standard'
    end as pricing_category,
    case when _part = 0 then known(text(line_item_usage_amount)) end as pricing_quantity,
    known(pricing_unit) as pricing_unit,
    coalesce(savings_plan, reservation) as commitment_discount_id,
    case when savings_plan is not null then 'Spend' when reservation is not null then 'Usage' end as commitment_discount_category,
    case when savings_plan is not null then 'Savings Plan' when reservation is not null then 'Reserved Instance' end as commitment_discount_type,
    case
        when is_unused then 'Unused'
        when is_covered then 'Used'
    end as commitment_discount_status,
    known(capacity_reservation_capacity_reservation_arn) as capacity_reservation_id,
    case known(capacity_reservation_capacity_reservation_status)
        when 'Used' then 'Used'
        when 'Unused' then 'Unused'
    end as capacity_reservation_status,
    case when not is_negated then regexp_replace(json(resource_tags), '([{,]\s*")user[_:]', '\1', 'g') end as tags
from charges
