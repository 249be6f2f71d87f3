-- What changed of a model's cost in closed periods, by charge: one row per closed period × charge whose part of it (usage basis)
-- is another today than when the period was closed, the largest differences first. Over a period they add up to all that was
-- restated for it.
-- Inputs: closed_parts (the model's allocations of the closed periods), late_parts (the same as their bills stand today).
with parts as (
    select billing_period, currency, row_id, -billed as more_billed, -effective as more_effective from closed_parts where basis = 'usage'
    union all
    select billing_period, currency, row_id, billed, effective from late_parts where basis = 'usage'
),
charged as (
    select billing_period, currency, row_id, sum(more_billed) as billed, sum(more_effective) as effective
    from parts
    group by billing_period, currency, row_id
)
select * from charged
where billed <> 0 or effective <> 0
order by abs(effective) desc, abs(billed) desc, billing_period, row_id
