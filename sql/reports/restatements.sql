-- One row per restatement: closed period × period in which it is booked × currency × target × model × version × stage ×
-- category, with the cost before it and after it. Inputs: restatements, snapshots (all billing periods).
-- before = snapshot + Σ restatements booked earlier, after = before + this one, so each after is the next one's before.
with booked as (
    select
        *,
        sum(usage_billed) over earlier as earlier_usage_billed,
        sum(usage_effective) over earlier as earlier_usage_effective,
        sum(allocation_billed) over earlier as earlier_allocation_billed,
        sum(allocation_effective) over earlier as earlier_allocation_effective
    from restatements
    window earlier as (
        partition by restated_period, currency, target, model_id, model_version, stage, category
        order by billing_period
        rows between unbounded preceding and 1 preceding
    )
)
select
    booked.restated_period,
    booked.billing_period as booked_period,
    booked.currency,
    booked.target,
    booked.model_id,
    booked.model_version,
    booked.stage,
    booked.category,
    coalesce(snapshots.usage_billed, 0) + coalesce(earlier_usage_billed, 0) as usage_billed_before,
    coalesce(snapshots.usage_effective, 0) + coalesce(earlier_usage_effective, 0) as usage_effective_before,
    coalesce(snapshots.allocation_billed, 0) + coalesce(earlier_allocation_billed, 0) as allocation_billed_before,
    coalesce(snapshots.allocation_effective, 0) + coalesce(earlier_allocation_effective, 0) as allocation_effective_before,
    booked.usage_billed,
    booked.usage_effective,
    booked.allocation_billed,
    booked.allocation_effective
from booked
left join snapshots
    on snapshots.billing_period = booked.restated_period
    and snapshots.currency = booked.currency
    and snapshots.target = booked.target
    and (snapshots.model_id is not distinct from booked.model_id)
    and (snapshots.model_version is not distinct from booked.model_version)
    and (snapshots.stage is not distinct from booked.stage)
    and snapshots.category = booked.category
order by booked.restated_period, booked_period, booked.currency, booked.target, booked.model_id, booked.model_version, booked.stage, booked.category
