-- I9: adding up model_costs by model, by stage and by category gives the same, and what allocations add up to.
with views as (
    select billing_period, currency, 'model' as view, sum(usage_effective) as usage, sum(allocation_effective) as allocation
    from (
        select billing_period, currency, model_id, sum(usage_effective) as usage_effective, sum(allocation_effective) as allocation_effective
        from model_costs group by billing_period, currency, model_id
    ) group by billing_period, currency
    union all
    select billing_period, currency, 'stage', sum(usage_effective), sum(allocation_effective)
    from (
        select billing_period, currency, stage, sum(usage_effective) as usage_effective, sum(allocation_effective) as allocation_effective
        from model_costs group by billing_period, currency, stage
    ) group by billing_period, currency
    union all
    select billing_period, currency, 'category', sum(usage_effective), sum(allocation_effective)
    from (
        select billing_period, currency, category, sum(usage_effective) as usage_effective, sum(allocation_effective) as allocation_effective
        from model_costs group by billing_period, currency, category
    ) group by billing_period, currency
),
total as (
    select billing_period, currency, sum(effective) filter (where basis = 'usage') as usage, sum(effective) as allocation
    from allocations group by billing_period, currency
)
select
    coalesce(views.billing_period, total.billing_period) as billing_period,
    coalesce(views.currency, total.currency) as currency,
    views.view,
    views.usage,
    total.usage as usage_allocated,
    views.allocation,
    total.allocation as allocation_allocated
from views
full join total on total.billing_period = views.billing_period and total.currency = views.currency
where (views.usage is distinct from total.usage) or (views.allocation is distinct from total.allocation)
