-- unit_costs: one row per day × model × version × surface × currency.
-- Inputs: recommendation_costs, served_days, outcomes, model_days (what each model version cost on each day).
-- An outcome counts on the day on which what it is credited to was shown. A day on which a model cost something and showed
-- nothing has a row with served = 0 and no cost per recommendation: null, never 0. Every ratio has its numerator and its
-- denominator beside it: add those up and divide, never the ratios.
with costs as (
    select
        ds, model_id, model_version, surface, currency,
        count(*) as served,
        sum(run_cost) as run_cost,
        sum(making_cost) as making_cost,
        sum(full_cost) as full_cost
    from recommendation_costs
    group by ds, model_id, model_version, surface, currency
),
followed as (
    select
        ds, model_id, model_version, surface, request_id, item_id,
        bool_or(event_type = 'click') as clicked,
        count(*) filter (where event_type = 'purchase') as purchases
    from outcomes
    group by ds, model_id, model_version, surface, request_id, item_id
),
counts as (
    select
        ds, model_id, model_version, surface,
        count(*) filter (where clicked) as clicks,
        sum(purchases) as purchases,
        count(*) filter (where purchases > 0) as conversions,
        count(distinct case when clicked then request_id end) as clicked_requests,
        count(distinct case when purchases > 0 then request_id end) as converted_requests
    from followed
    group by ds, model_id, model_version, surface
),
sales as (
    select
        ds, model_id, model_version, surface, currency,
        sum(revenue) as revenue,
        sum(margin) as margin,
        sum(margin_revenue) as margin_revenue
    from outcomes
    where event_type = 'purchase'
    group by ds, model_id, model_version, surface, currency
),
units as (
    select
        costs.ds, costs.model_id, costs.model_version, costs.surface, costs.currency,
        costs.served,
        coalesce(served_days.requests, 0) as requests,
        coalesce(clicks, 0) as clicks,
        coalesce(purchases, 0) as purchases,
        coalesce(conversions, 0) as conversions,
        coalesce(clicked_requests, 0) as clicked_requests,
        coalesce(converted_requests, 0) as converted_requests,
        revenue, margin, margin_revenue, run_cost, making_cost, full_cost
    from costs
    left join served_days
        on served_days.ds = costs.ds
        and served_days.model_id = costs.model_id
        and (served_days.model_version is not distinct from costs.model_version)
        and (served_days.surface is not distinct from costs.surface)
    left join counts
        on counts.ds = costs.ds
        and counts.model_id = costs.model_id
        and (counts.model_version is not distinct from costs.model_version)
        and (counts.surface is not distinct from costs.surface)
    left join sales
        on sales.ds = costs.ds
        and sales.model_id = costs.model_id
        and (sales.model_version is not distinct from costs.model_version)
        and (sales.surface is not distinct from costs.surface)
        and sales.currency = costs.currency
    union all
    select
        day, model_id, model_version, null, currency, 0, 0, 0, 0, 0, 0, 0, null, null, null, run_cost, making_cost, full_cost
    from model_days
    where not exists (
        select 1
        from costs
        where costs.ds = model_days.day and costs.model_id = model_days.model_id and costs.currency = model_days.currency
    )
)
select
    ds, model_id, model_version, surface, currency,
    served, requests, clicks, purchases, conversions, clicked_requests, converted_requests,
    cast(revenue as decimal(38, 18)) as revenue,
    cast(margin as decimal(38, 18)) as margin,
    cast(margin_revenue as decimal(38, 18)) as margin_revenue,
    run_cost,
    full_cost - run_cost - making_cost as overhead_cost,
    making_cost,
    full_cost,
    per(run_cost, 1, served) as run_cost_per_recommendation,
    per(run_cost, 1000, served) as run_cost_per_1000,
    per(run_cost, 1, requests) as run_cost_per_request,
    per(run_cost, 1, clicks) as run_cost_per_click,
    per(run_cost, 1, conversions) as run_cost_per_conversion,
    per(full_cost, 1, served) as full_cost_per_recommendation,
    per(full_cost, 1000, served) as full_cost_per_1000,
    per(full_cost, 1, requests) as full_cost_per_request,
    per(full_cost, 1, clicks) as full_cost_per_click,
    per(full_cost, 1, conversions) as full_cost_per_conversion,
    -- Without a purchase the return is 0; with purchases whose price is not known it is not known.
    ratio(case when purchases = 0 then 0 else revenue end, full_cost) as return_on_cost,
    ratio(case when purchases = 0 then 0 else margin end, full_cost) as margin_on_cost
from units
