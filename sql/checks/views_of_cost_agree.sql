-- I9: adding up model_costs by model, by stage and by category gives what allocations add up to, billed and effective, on both
-- bases. Inputs: model_costs, allocation_days, which a check of its own holds against allocations.
with views as (
    select
        billing_period, currency, 'model' as view, model_id as name,
        sum(usage_billed) as usage_billed, sum(usage_effective) as usage,
        sum(allocation_billed) as allocation_billed, sum(allocation_effective) as allocation
    from model_costs
    group by billing_period, currency, model_id
    union all
    select
        billing_period, currency, 'stage', stage,
        sum(usage_billed), sum(usage_effective), sum(allocation_billed), sum(allocation_effective)
    from model_costs
    group by billing_period, currency, stage
    union all
    select
        billing_period, currency, 'category', category,
        sum(usage_billed), sum(usage_effective), sum(allocation_billed), sum(allocation_effective)
    from model_costs
    group by billing_period, currency, category
),
totals as (
    select
        billing_period, currency, 'model' as view, model_id as name,
        coalesce(sum(billed) filter (where basis = 'usage'), 0) as usage_billed,
        coalesce(sum(effective) filter (where basis = 'usage'), 0) as usage,
        sum(billed) as allocation_billed, sum(effective) as allocation
    from allocation_days
    group by billing_period, currency, model_id
    union all
    select
        billing_period, currency, 'stage', stage,
        coalesce(sum(billed) filter (where basis = 'usage'), 0),
        coalesce(sum(effective) filter (where basis = 'usage'), 0), sum(billed), sum(effective)
    from allocation_days
    group by billing_period, currency, stage
    union all
    select
        billing_period, currency, 'category', category,
        coalesce(sum(billed) filter (where basis = 'usage'), 0),
        coalesce(sum(effective) filter (where basis = 'usage'), 0), sum(billed), sum(effective)
    from allocation_days
    group by billing_period, currency, category
)
select
    coalesce(views.billing_period, totals.billing_period) as billing_period,
    coalesce(views.currency, totals.currency) as currency,
    coalesce(views.view, totals.view) as view,
    coalesce(views.name, totals.name) as name,
    views.usage,
    totals.usage as usage_allocated,
    views.allocation,
    totals.allocation as allocation_allocated,
    views.usage_billed,
    totals.usage_billed as usage_billed_allocated,
    views.allocation_billed,
    totals.allocation_billed as allocation_billed_allocated
from views
full join totals
    on totals.billing_period = views.billing_period
    and totals.currency = views.currency
    and totals.view = views.view
    and (totals.name is not distinct from views.name)
where (views.usage is distinct from totals.usage)
    or (views.allocation is distinct from totals.allocation)
    or (views.usage_billed is distinct from totals.usage_billed)
    or (views.allocation_billed is distinct from totals.allocation_billed)
