-- What one side of a comparison showed and brought, a single row. Inputs: unit_costs (of that side and the days compared).
-- A model whose cost is in several currencies has a row for each; its counts are the same in all of them.
with counts as (
    select
        ds, model_version, surface,
        max(served) as served,
        max(requests) as requests,
        max(clicks) as clicks,
        max(clicked_requests) as clicked_requests,
        max(purchases) as purchases,
        max(conversions) as conversions,
        max(converted_requests) as converted_requests
    from unit_costs
    group by ds, model_version, surface
)
select
    min(case when served > 0 then ds end) as first_day,
    max(case when served > 0 then ds end) as last_day,
    count(distinct case when served > 0 then ds end) as days,
    coalesce(sum(served), 0) as served,
    coalesce(sum(requests), 0) as requests,
    coalesce(sum(clicks), 0) as clicks,
    coalesce(sum(clicked_requests), 0) as clicked_requests,
    coalesce(sum(purchases), 0) as purchases,
    coalesce(sum(conversions), 0) as conversions,
    coalesce(sum(converted_requests), 0) as converted_requests
from counts
