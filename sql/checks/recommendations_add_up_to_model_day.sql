-- I10: the costs of the recommendations that a model served on a day add up to what the model cost on that day, and a model
-- that showed anything on a day has its recommendations. Inputs: recommendation_costs, model_days, events.
-- A model that cost nothing serves for 0. On a day on which a model showed nothing no recommendation carries its cost.
with shown as (
    select distinct cast(event_time as date) as day, model_id
    from events
    where event_type = 'impression' and model_id is not null and request_id is not null
        and cast(event_time as date) >= (select min(ds) from events)
),
days as (
    select
        day, model_id, currency, sum(served) as served, sum(run_cost) as run_cost, sum(full_cost) as full_cost,
        sum(run_cost_of_model) as run_cost_of_model, sum(full_cost_of_model) as full_cost_of_model
    from (
        select
            ds as day, model_id, currency, count(*) as served, sum(run_cost) as run_cost, sum(full_cost) as full_cost,
            cast(0 as decimal(38, 18)) as run_cost_of_model, cast(0 as decimal(38, 18)) as full_cost_of_model
        from recommendation_costs
        group by ds, model_id, currency
        union all
        select day, model_id, currency, 0, 0, 0, sum(run_cost), sum(full_cost)
        from model_days
        group by day, model_id, currency
    ) as amounts
    group by day, model_id, currency
)
select
    coalesce(days.day, shown.day) as ds, coalesce(days.model_id, shown.model_id) as model_id, currency,
    coalesce(served, 0) as served, run_cost, run_cost_of_model, full_cost, full_cost_of_model
from days
full join shown on shown.day = days.day and shown.model_id = days.model_id
where (served > 0 and (run_cost <> run_cost_of_model or full_cost <> full_cost_of_model))
    or (shown.day is not null and coalesce(served, 0) = 0)
