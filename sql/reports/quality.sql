-- The newest evaluation: one row per model × metric × k. Inputs: evaluation.
select model_id, model_version, family, metric, k, value, low, high, protocol, users
from evaluation
where ds = (select max(ds) from evaluation)
order by model_id, metric, k
