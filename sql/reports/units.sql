-- One row per currency × day × model × version × surface. Inputs: unit_costs (the report's days).
select ds, model_id, model_version, surface, currency, served, requests, clicks, purchases, revenue, run_cost, full_cost
from unit_costs
order by currency, ds, model_id, model_version, surface
