-- user_counts: what each user seen in the window did, and what was spent in the currency of most purchases. A step of
-- user_features. It is added up at the scale of prices, which has room for any sum; spend is null where that is beyond what an
-- amount holds, 10²⁰ or more.
-- Inputs: events (the window, nothing at or after as_of()).
-- Divided by: user_id.
with counted as (
    select
        user_id,
        count(*) as events,
        count(*) filter (where event_type = 'view') as views,
        count(*) filter (where event_type = 'search') as searches,
        count(*) filter (where event_type = 'impression') as impressions,
        count(*) filter (where event_type = 'click') as clicks,
        count(*) filter (where event_type = 'cart') as carts,
        count(*) filter (where event_type = 'purchase') as purchases,
        max(event_time) as last_time
    from events
    group by user_id
),
priced as (
    select user_id, currency, count(*) as times, sum(price * quantity) as spend
    from events
    where event_type = 'purchase' and price is not null and quantity is not null and currency is not null
    group by user_id, currency
),
spent as (
    select
        user_id,
        first_value(currency order by times desc, currency) as currency,
        first_value(spend order by times desc, currency) as spend
    from priced
    group by user_id
)
select
    counted.user_id,
    events,
    views,
    searches,
    impressions,
    clicks,
    carts,
    purchases,
    try_cast(spend as decimal(38, 18)) as spend,
    spent.currency,
    last_time
from counted
left join spent on spent.user_id = counted.user_id
