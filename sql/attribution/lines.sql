-- The charges of a billing period as attribution reads them: one row per charge, with the category of its cost and
-- the stage that it is for where tags name a model and no stage (null: operations).
-- Inputs: charges (one billing period). Allocations come in the order of row_id, whatever the order here; only the columns that
-- attribution or a rule reads are looked at.
-- Override this file to change them. Categories are compute, storage, network, licence, labour, operations and other; stages
-- are development, training, deployment, operations and upgrade.
select
    charges.*,
    case
        when x_source_kind = 'labour' then 'labour'
        when x_source_kind = 'licence' then 'licence'
        when x_source_kind = 'hardware' then 'compute'
        when charge_category = 'Tax' then 'other'
        when service_subcategory ilike '%marketplace%'
            or service_name ilike '%marketplace%'
            or sku_meter ilike '%licen%'
            or resource_type ilike '%licen%'
            or charge_description ilike '%licen%' then 'licence'
        when service_category in ('Compute', 'AI and Machine Learning') then 'compute'
        when service_category in ('Storage', 'Databases') then 'storage'
        when service_category = 'Networking' then 'network'
        when service_category in ('Management and Governance', 'Security', 'Identity', 'Developer Tools') then 'operations'
        else 'other'
    end as category,
    cast(null as varchar) as stage,
    coalesce(invoice_issuer_name, provider_name, source) as issuer
from charges
