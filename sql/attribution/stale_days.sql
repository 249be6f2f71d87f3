-- Days on which what recommendations were last said to cost is not what their models cost today.
-- Inputs: unit_costs, model_days (of the same days).
with said as (
    select ds as day, model_id, currency, sum(run_cost) as run_cost, sum(full_cost) as full_cost
    from unit_costs
    group by ds, model_id, currency
),
today as (
    select day, model_id, currency, sum(run_cost) as run_cost, sum(full_cost) as full_cost
    from model_days
    group by day, model_id, currency
)
select distinct coalesce(today.day, said.day) as day
from today
full join said on said.day = today.day and said.model_id = today.model_id and said.currency = today.currency
where coalesce(today.run_cost, 0) <> coalesce(said.run_cost, 0)
    or coalesce(today.full_cost, 0) <> coalesce(said.full_cost, 0)
