-- The exchange rates that amounts were converted at: one row per currency × rate, with the days that took it.
-- Inputs: converted_costs (the report's billing periods).
select currency, reporting_currency, rate_id, rate, min(day) as first_day, max(day) as last_day, count(*) as rows
from converted_costs
where rate_id is not null
group by currency, reporting_currency, rate_id, rate
order by currency, first_day, rate_id
