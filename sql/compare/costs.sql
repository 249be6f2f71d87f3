-- What one side of a comparison cost and brought in, per currency: over the days compared, and to make it up to their end.
-- Inputs: unit_costs (of that side and the days compared), version_ledger (of that side, up to the last of those days).
-- made is all that its versions cost to make; of it unrecognised is not yet part of any full_cost.
with parts as (
    select
        currency, run_cost, making_cost, full_cost, revenue, margin, margin_revenue,
        cast(null as decimal(38, 18)) as made,
        cast(null as decimal(38, 18)) as written_off,
        cast(null as decimal(38, 18)) as unrecognised
    from unit_costs
    union all
    select
        currency, null, null, null, null, null, null,
        incurred + transferred, written_off, incurred + transferred - recognised - written_off
    from version_ledger
)
select
    currency,
    coalesce(sum(run_cost), 0) as run_cost,
    coalesce(sum(making_cost), 0) as making_cost,
    coalesce(sum(full_cost), 0) as full_cost,
    sum(revenue) as revenue,
    sum(margin) as margin,
    sum(margin_revenue) as margin_revenue,
    coalesce(sum(made), 0) as made,
    coalesce(sum(written_off), 0) as written_off,
    coalesce(sum(unrecognised), 0) as unrecognised
from parts
group by currency
order by currency
