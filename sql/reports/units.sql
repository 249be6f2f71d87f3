-- One row per currency × day × model × version × surface. Inputs: unit_costs (the report's days).
select
    ds, model_id, model_version, surface, currency,
    served, requests, clicks, purchases, conversions, clicked_requests, converted_requests,
    revenue, margin, margin_revenue, run_cost, overhead_cost, making_cost, full_cost
from unit_costs
order by currency, ds, model_id, model_version, surface
