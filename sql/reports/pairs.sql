-- The newest comparison of models on the same users: one row per model × other model × metric × k. Inputs: evaluation_pairs.
select model_id, other_id, metric, k, difference, low, high, differs, users
from evaluation_pairs
where ds = (select max(ds) from evaluation_pairs)
order by model_id, other_id, metric, k
