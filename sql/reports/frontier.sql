-- The newest frontier: one row per model × basis × currency, the dearest last. Inputs: frontier.
select
    model_id, model_version, family, dim, made_from, compression, bytes, scoring_seconds_per_1000, basis, k,
    recall, recall_low, recall_high, ndcg, ndcg_low, ndcg_high, currency, cost_from, cost_to, own_cost, parent_cost, cost,
    recommendations, cost_per_1000, dominated_by, recall_differs
from frontier
where ds = (select max(ds) from frontier)
order by basis, currency, cost_per_1000, model_id
