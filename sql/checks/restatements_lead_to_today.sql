-- The snapshot of a closed period and all restatements of it add up to its costs as its bills stand today, key by key.
-- Inputs: late_allocations, snapshots, restatements.
with looked_at as (
    select billing_period as period from late_allocations
    union all
    select restated_period from restatements
),
today as (
    select
        billing_period, currency, target, model_id, model_version, stage, category,
        coalesce(sum(billed) filter (where basis = 'usage'), 0) as billed,
        sum(effective) as effective
    from late_allocations
    group by billing_period, currency, target, model_id, model_version, stage, category
),
booked as (
    select
        billing_period, currency, target, model_id, model_version, stage, category,
        sum(billed) as billed, sum(effective) as effective
    from (
        select
            billing_period, currency, target, model_id, model_version, stage, category,
            usage_billed as billed, allocation_effective as effective
        from snapshots
        union all
        select
            restated_period, currency, target, model_id, model_version, stage, category, usage_billed, allocation_effective
        from restatements
    ) as amounts
    where billing_period in (select period from looked_at)
    group by billing_period, currency, target, model_id, model_version, stage, category
)
select coalesce(today.billing_period, booked.billing_period) as billing_period, today.target, today.model_id,
    today.billed, booked.billed as booked_billed, today.effective, booked.effective as booked_effective
from today
full join booked
    on booked.billing_period = today.billing_period
    and booked.currency = today.currency
    and booked.target = today.target
    and (booked.model_id is not distinct from today.model_id)
    and (booked.model_version is not distinct from today.model_version)
    and (booked.stage is not distinct from today.stage)
    and booked.category = today.category
where coalesce(today.billed, 0) <> coalesce(booked.billed, 0)
    or coalesce(today.effective, 0) <> coalesce(booked.effective, 0)
