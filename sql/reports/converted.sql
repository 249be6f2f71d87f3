-- Costs in the reporting currency: one row per line × original currency × target × model.
-- Inputs: converted_costs (the report's billing periods). cost + exchange_difference is the bill at the closing rates;
-- restatements stand beside it.
select
    reporting_currency,
    line,
    currency,
    target,
    model_id,
    sum(original_usage_effective) as original_usage_effective,
    sum(original_allocation_effective) as original_allocation_effective,
    sum(original_usage_billed) as original_usage_billed,
    sum(original_allocation_billed) as original_allocation_billed,
    sum(usage_effective) as usage_effective,
    sum(allocation_effective) as allocation_effective,
    sum(usage_billed) as usage_billed,
    sum(allocation_billed) as allocation_billed
from converted_costs
group by reporting_currency, line, currency, target, model_id
order by reporting_currency, line, currency, target, model_id
