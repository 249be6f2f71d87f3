-- How the cost of each recommendation asked for is a share of its model's day: one row per recommendation × currency × part of
-- the cost × what it is divided over. Its exact share is amount × weight / weight_total; share is that at 18 places, half-even.
-- What recommendation_costs holds is the exact share rounded down, and for the largest remainders a unit of the 18th place
-- more, so that all shares add up to the amount.
-- Inputs: asked (rows of recommendation_costs), recommendation_costs and model_days (of their models and days).
-- The cost of a version that showed something is divided over what it showed (divided_over names it), all other cost of the
-- model over all that the model showed; by computing time where each of those has one, else evenly.
with shown as (
    select
        ds, model_id, currency, model_version, count(*) as recommendations, sum(compute_ns) as compute_ns,
        count(*) filter (where coalesce(compute_ns, 0) = 0) as unmeasured
    from recommendation_costs
    group by ds, model_id, currency, model_version
),
by_model as (
    select
        ds, model_id, currency, sum(recommendations) as recommendations, sum(compute_ns) as compute_ns,
        sum(unmeasured) as unmeasured
    from shown
    group by ds, model_id, currency
),
days as (
    select
        model_days.day as ds, model_days.model_id, model_days.currency, shown.model_version as divided_over,
        sum(run_cost) as run_cost, sum(tax_cost + idle_cost) as overhead_cost, sum(making_cost) as making_cost
    from model_days
    left join shown
        on shown.ds = model_days.day
        and shown.model_id = model_days.model_id
        and shown.currency = model_days.currency
        and shown.model_version = model_days.model_version
    group by model_days.day, model_days.model_id, model_days.currency, shown.model_version
),
divided as (
    select
        days.*,
        coalesce(shown.recommendations, by_model.recommendations) as recommendations,
        case when divided_over is null then by_model.compute_ns else shown.compute_ns end as compute_ns,
        coalesce(shown.unmeasured, by_model.unmeasured) as unmeasured
    from days
    join by_model
        on by_model.ds = days.ds and by_model.model_id = days.model_id and by_model.currency = days.currency
    left join shown
        on shown.ds = days.ds
        and shown.model_id = days.model_id
        and shown.currency = days.currency
        and shown.model_version = days.divided_over
),
parts as (
    select
        ds, model_id, currency, divided_over, recommendations, compute_ns, unmeasured, 1 as place, 'run_cost' as part,
        run_cost as amount
    from divided
    union all
    select ds, model_id, currency, divided_over, recommendations, compute_ns, unmeasured, 2, 'making_cost', making_cost
    from divided
    union all
    select ds, model_id, currency, divided_over, recommendations, compute_ns, unmeasured, 3, 'overhead_cost', overhead_cost
    from divided
),
weighed as (
    select
        asked.request_id, asked.model_id, asked.rank, asked.item_id, asked.currency, parts.place, parts.part,
        parts.divided_over, parts.amount,
        case when unmeasured > 0 then 'recommendations' else 'compute_ns' end as divided_by,
        case when unmeasured > 0 then 1 else asked.compute_ns end as weight,
        case when unmeasured > 0 then parts.recommendations else parts.compute_ns end as weight_total
    from asked
    join parts
        on parts.ds = asked.ds
        and parts.model_id = asked.model_id
        and parts.currency = asked.currency
        and (parts.divided_over is null or parts.divided_over = asked.model_version)
    where parts.amount <> 0
)
select
    request_id, rank, item_id, currency, part, divided_over, amount, divided_by, weight, weight_total,
    per(amount, weight, weight_total) as share
from weighed
order by request_id, model_id, currency, rank, item_id, place, (divided_over is null)
