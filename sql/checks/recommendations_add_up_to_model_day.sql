-- I10: the costs of the recommendations that a model served on a day add up to what the model cost on that day.
-- Inputs: recommendation_costs, model_days. A model that cost nothing serves for 0. Days on which nothing was served have no recommendation to carry the cost.
with served as (
    select ds, model_id, currency, sum(run_cost) as run_cost, sum(full_cost) as full_cost
    from recommendation_costs
    group by ds, model_id, currency
),
cost as (
    select day, model_id, currency, sum(run_cost) as run_cost, sum(full_cost) as full_cost
    from model_days
    group by day, model_id, currency
)
select
    served.ds,
    served.model_id,
    served.currency,
    served.run_cost,
    cost.run_cost as run_cost_of_model,
    served.full_cost,
    cost.full_cost as full_cost_of_model
from served
left join cost on cost.day = served.ds and cost.model_id = served.model_id and cost.currency = served.currency
where served.run_cost <> coalesce(cost.run_cost, 0) or served.full_cost <> coalesce(cost.full_cost, 0)
