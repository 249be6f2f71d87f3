-- What the recommendations asked for cost: one row per recommendation × currency of its model's cost.
-- Inputs: asked (rows of recommendation_costs). run_cost + making_cost + overhead_cost = full_cost.
select
    ds, request_id, rank, item_id, model_id, model_version, surface, currency, compute_ns, run_cost, making_cost,
    full_cost - run_cost - making_cost as overhead_cost, full_cost
from asked
order by request_id, model_id, currency, rank, item_id
