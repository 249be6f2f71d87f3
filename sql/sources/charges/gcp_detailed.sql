-- The detailed usage cost export of Google Cloud Billing (BigQuery, extracted as Parquet) → charges: one row per cost and
-- one more per credit, so that Σ = Σ cost + Σ credits.amount.
--
-- Every amount is both billed and effective. Google Cloud bills commitments by the hour or month in which they hold and
-- takes covered usage off by credits: nothing is paid ahead that would have to be spread. A commitment's fee stays on its
-- row, a Purchase; which part of it went unused is not in the export.
-- The billing period is the invoice month. It begins at midnight in California; here its bounds are midnight UTC, and a
-- charge of the first hours may begin before or after it. Credits have the resource, service and labels of their cost.
-- optional: cost_at_list, cost_type
with lines as (
    select
        *,
        unnest(range(0, cast(coalesce(array_length(credits), 0) as bigint) + 1)) as _part
    from source
), parts as (
    select
        *,
        credits[_part] as credit,
        try_cast(concat(substr(invoice['month'], 1, 4), '-', substr(invoice['month'], 5, 2), '-01') as date) as month_start,
        coalesce(sku['description'], '') ilike 'commitment%' as is_commitment
    from lines
)
select
    _row,
    _part,
    case when _part = 0 then text(cost) else text(credit['amount']) end as billed_cost,
    case when _part = 0 then text(cost) else text(credit['amount']) end as effective_cost,
    case when _part = 0 then text(cost_at_list) end as list_cost,
    known(currency) as billing_currency,
    known(billing_account_id) as billing_account_id,
    month_start as billing_period_start,
    month_start + interval '1 month' as billing_period_end,
    usage_start_time as charge_period_start,
    usage_end_time as charge_period_end,
    case
        when _part > 0 then 'Credit'
        when known(cost_type) = 'tax' then 'Tax'
        when known(cost_type) in ('adjustment', 'rounding_error') then 'Adjustment'
        when is_commitment then 'Purchase'
        else 'Usage'
    end as charge_category,
    case
        when _part = 0 then known(sku['description'])
        else coalesce(known(credit['full_name']), known(credit['name']), known(credit['type']))
    end as charge_description,
    case when is_commitment then 'Recurring' else 'Usage-Based' end as charge_frequency,
    'Google Cloud' as invoice_issuer_name,
    'Google Cloud' as provider_name,
    known(project['id']) as sub_account_id,
    known(project['name']) as sub_account_name,
    case
        when sku['description'] ilike '%storage%' or sku['description'] ilike '% PD %' or sku['description'] ilike '%snapshot%' then 'Storage'
        when sku['description'] ilike '%network%' or sku['description'] ilike '%egress%' or sku['description'] ilike '%data transfer%' then 'Networking'
        when service['description'] in ('Cloud Storage', 'Cloud Filestore', 'Artifact Registry') then 'Storage'
        when service['description'] in ('Networking', 'Cloud DNS', 'Cloud CDN') then 'Networking'
        when service['description'] in ('BigQuery', 'Cloud SQL', 'Cloud Spanner', 'Cloud Bigtable', 'Cloud Memorystore for Redis') then 'Databases'
        when service['description'] in ('Vertex AI', 'Cloud TPU', 'Recommendations AI') then 'AI and Machine Learning'
        when service['description'] in ('Compute Engine', 'Kubernetes Engine', 'Cloud Run', 'Cloud Functions', 'App Engine', 'Cloud Dataproc', 'Cloud Dataflow') then 'Compute'
        when service['description'] in ('Cloud Logging', 'Cloud Monitoring') then 'Management and Governance'
        when service['description'] in ('Cloud Key Management Service (KMS)', 'Secret Manager') then 'Security'
    end as service_category,
    known(service['description']) as service_name,
    known(sku['id']) as sku_id,
    known(sku['description']) as sku_meter,
    known(location['region']) as region_id,
    known(location['zone']) as availability_zone,
    coalesce(known(resource['global_name']), known(resource['name'])) as resource_id,
    known(resource['name']) as resource_name,
    case when _part = 0 then text(usage['amount_in_pricing_units']) end as pricing_quantity,
    case when _part = 0 then known(usage['pricing_unit']) end as pricing_unit,
    case when _part = 0 then text(usage['amount']) end as consumed_quantity,
    case when _part = 0 then known(usage['unit']) end as consumed_unit,
    json(labels) as tags
from parts
