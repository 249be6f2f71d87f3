-- One row per currency × day × target × model: the trend. Inputs: model_costs (the report's billing periods).
select
    currency,
    day,
    target,
    model_id,
    sum(usage_effective) as usage_effective,
    sum(allocation_effective) as allocation_effective
from model_costs
group by currency, day, target, model_id
order by currency, day, target, model_id
