-- user_features: one row per user seen in the window.
-- Inputs: events (the window, nothing at or after as_of()), sessions, price_bands, users (the newest snapshot).
-- Divided by: user_id.
-- spend counts purchases in the user's most frequent currency only, and price_band the prices in the one seen most:
-- currencies are never added.
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
visits as (
    select user_id, count(*) as sessions, count(*) filter (where purchases > 0) as bought
    from sessions
    group by user_id
),
spent as (
    select
        user_id,
        currency,
        sum(cast(price as decimal(38, 18)) * quantity) as spend,
        row_number() over (partition by user_id order by count(*) desc, currency) as place
    from events
    where event_type = 'purchase' and price is not null and quantity is not null and currency is not null
    group by user_id, currency
)
select
    counted.user_id,
    events,
    coalesce(sessions, 0) as sessions,
    views,
    searches,
    impressions,
    clicks,
    carts,
    purchases,
    cast(spend as decimal(38, 18)) as spend,
    spent.currency,
    (date_part('epoch', as_of()) - date_part('epoch', last_time)) / 86400 as recency_days,
    cast(bought as double) / nullif(sessions, 0) as conversion,
    price_band,
    users.country,
    users.tags
from counted
left join visits on visits.user_id = counted.user_id
left join spent on spent.user_id = counted.user_id and spent.place = 1
left join price_bands on price_bands.user_id = counted.user_id
left join users on users.user_id = counted.user_id
