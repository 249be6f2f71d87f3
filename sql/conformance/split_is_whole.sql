-- Per charge that its provider has split (AllocatedMethodId), the ratios of its parts (AllocatedMethodDetails): they add up to
-- 1, or a part of the charge is missing or there twice. The parts of a charge share its resource, SKU and charge period.
-- Parts that name several ratios are not looked at. Ratios are written with six places or more. Inputs: charges.
with parts as (
    select
        source, invoice_issuer_name, billing_currency, billing_period, charge_period_start, charge_period_end, charge_category,
        charge_class, resource_id, sku_id, sku_price_id, allocated_method_id,
        try_cast(regexp_match(allocated_method_details, '"AllocatedRatio": *"?([0-9.]+)')[1] as decimal(38, 18)) as ratio,
        regexp_count(allocated_method_details, '"AllocatedRatio"') as ratios
    from charges
    where allocated_method_id is not null and resource_id is not null
)
select
    concat_ws(' ', resource_id, sku_id, text(charge_period_start)) as subject,
    invoice_issuer_name as issuer,
    'ratio' as unit,
    count(*) as rows,
    cast(1 as decimal(38, 18)) as stated,
    sum(ratio) as found,
    per(0.000001, count(*), 1) as tolerance
from parts
group by
    source, invoice_issuer_name, billing_currency, billing_period, charge_period_start, charge_period_end, charge_category,
    charge_class, resource_id, sku_id, sku_price_id, allocated_method_id
having count(ratio) = count(*) and max(ratios) = 1
