-- restatements: what arrived for closed billing periods, booked in the open one: one row per closed period × currency ×
-- target × model × version × stage × category whose cost is another today.
-- Inputs: late_allocations (closed periods as their bills stand today), snapshots, restatements (of all other periods),
-- restated_periods (which closed periods to look at).
-- restatement = today − snapshot − Σ restatements booked elsewhere, so snapshot + Σ restatements = today, always.
with parts as (
    select
        billing_period as restated_period, currency, target, model_id, model_version, stage, category,
        coalesce(sum(billed) filter (where basis = 'usage'), 0) as usage_billed,
        coalesce(sum(effective) filter (where basis = 'usage'), 0) as usage_effective,
        sum(billed) as allocation_billed,
        sum(effective) as allocation_effective
    from late_allocations
    where billing_period in (select billing_period from restated_periods)
    group by billing_period, currency, target, model_id, model_version, stage, category
    union all
    select
        billing_period, currency, target, model_id, model_version, stage, category,
        -usage_billed, -usage_effective, -allocation_billed, -allocation_effective
    from snapshots
    where billing_period in (select billing_period from restated_periods)
    union all
    select
        restated_period, currency, target, model_id, model_version, stage, category,
        -usage_billed, -usage_effective, -allocation_billed, -allocation_effective
    from restatements
    where restated_period in (select billing_period from restated_periods)
)
select
    restated_period, currency, target, model_id, model_version, stage, category,
    sum(usage_billed) as usage_billed,
    sum(usage_effective) as usage_effective,
    sum(allocation_billed) as allocation_billed,
    sum(allocation_effective) as allocation_effective
from parts
group by restated_period, currency, target, model_id, model_version, stage, category
having sum(usage_billed) <> 0 or sum(usage_effective) <> 0 or sum(allocation_billed) <> 0 or sum(allocation_effective) <> 0
