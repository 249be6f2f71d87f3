-- What versions cost to make is in the ledger, all of it and no more, on the day on which it was incurred.
-- Inputs: version_ledger, making_costs. Days after the ledger's last are not there yet.
with lines as (
    select day, model_id, model_version, currency, effective as cost, cast(0 as decimal(38, 18)) as incurred
    from making_costs
    where day <= (select max(day) from version_ledger)
    union all
    select day, model_id, model_version, currency, cast(0 as decimal(38, 18)), incurred
    from version_ledger
)
select day, model_id, model_version, currency, sum(cost) as cost, sum(incurred) as incurred
from lines
group by day, model_id, model_version, currency
having sum(cost) <> sum(incurred)
