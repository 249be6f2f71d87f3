-- What changed of a model's cost in closed periods, by charge: one row per closed period × charge whose part of it (usage basis)
-- is another today than when the period was closed, the largest differences first. Over a period they add up to all that was
-- restated for it.
-- Inputs: closed_parts (the model's allocations of the closed periods), late_parts (the same as their bills stand today).
select billing_period, currency, row_id, sum(billed) as billed, sum(effective) as effective
from (
    select billing_period, currency, row_id, -billed as billed, -effective as effective from closed_parts where basis = 'usage'
    union all
    select billing_period, currency, row_id, billed, effective from late_parts where basis = 'usage'
)
group by billing_period, currency, row_id
having sum(billed) <> 0 or sum(effective) <> 0
order by abs(sum(effective)) desc, abs(sum(billed)) desc, billing_period, row_id
