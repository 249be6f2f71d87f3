-- unit_costs: one row per day × model × version × surface × currency.
-- Inputs: recommendation_costs, events, model_days (what each model version cost on each day).
-- An outcome belongs to the request that it names and is counted once. A day on which a model cost something and showed
-- nothing has a row with served = 0 and no cost per recommendation: null, never 0.
with outcomes as (
    select
        request_id,
        item_id,
        bool_or(event_type = 'click') as clicked,
        count(*) filter (where event_type = 'purchase') as purchases
    from events
    where event_type in ('click', 'purchase') and request_id is not null and item_id is not null
    group by request_id, item_id
),
bought as (
    select request_id, item_id, currency, sum(cast(price as decimal(38, 18)) * quantity) as revenue
    from events
    where event_type = 'purchase' and request_id is not null and price is not null and quantity is not null
    group by request_id, item_id, currency
),
served as (
    select
        costs.ds,
        model_id,
        model_version,
        surface,
        costs.currency,
        count(*) as served,
        count(distinct costs.request_id) as requests,
        count(*) filter (where clicked) as clicks,
        coalesce(sum(purchases), 0) as purchases,
        sum(revenue) as revenue,
        sum(run_cost) as run_cost,
        sum(full_cost) as full_cost
    from recommendation_costs as costs
    left join outcomes on outcomes.request_id = costs.request_id and outcomes.item_id = costs.item_id
    left join bought
        on bought.request_id = costs.request_id
        and bought.item_id = costs.item_id
        and bought.currency = costs.currency
    group by costs.ds, model_id, model_version, surface, costs.currency
),
idle_days as (
    select day, model_id, model_version, currency, run_cost, full_cost
    from model_days
    where not exists (
        select 1
        from served
        where served.ds = model_days.day and served.model_id = model_days.model_id and served.currency = model_days.currency
    )
)
select
    ds, model_id, model_version, surface, currency, served, requests, clicks, purchases,
    cast(revenue as decimal(38, 18)) as revenue, run_cost, full_cost,
    per(run_cost, 1000, served) as run_cost_per_1000,
    per(full_cost, 1000, served) as full_cost_per_1000
from served
union all
select day, model_id, model_version, null, currency, 0, 0, 0, 0, null, run_cost, full_cost, null, null
from idle_days
