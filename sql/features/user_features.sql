-- user_features: one row per user seen in the window.
-- Inputs: user_counts, sessions, price_places, price_counts, users (the newest snapshot).
-- Divided by: user_id.
-- spend counts purchases in the user's most frequent currency only, and price_band the prices in the one seen most:
-- currencies are never added.
with banded as (
    select user_id, quartile(place, users) as price_band
    from price_places
    join price_counts on (price_places.currency is not distinct from price_counts.currency)
),
visits as (
    select user_id, count(*) as sessions, count(*) filter (where purchases > 0) as bought
    from sessions
    group by user_id
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
    spend,
    currency,
    (date_part('epoch', as_of()) - date_part('epoch', last_time)) / 86400 as recency_days,
    cast(bought as double) / nullif(sessions, 0) as conversion,
    price_band,
    users.country,
    users.tags
from user_counts counted
left join visits on visits.user_id = counted.user_id
left join banded on banded.user_id = counted.user_id
left join users on users.user_id = counted.user_id
