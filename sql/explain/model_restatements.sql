-- What was restated of a model's cost in closed periods. Inputs: restatements (the model's).
select billing_period, restated_period, currency, model_version, stage, category, usage_billed, usage_effective, allocation_billed, allocation_effective
from restatements
order by billing_period, restated_period, currency, model_version, stage, category
