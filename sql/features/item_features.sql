-- item_features: one row per item seen in the window or listed in the newest catalogue.
-- Inputs: events (the window, nothing at or after as_of()), interactions, items (the newest snapshot), item_price_places,
-- item_price_counts.
-- Divided by: item_id.
-- An item that had events, but fewer than min_group users, has no row.
with counted as (
    select
        item_id,
        count(*) filter (where event_type = 'view') as views,
        count(*) filter (where event_type = 'impression') as impressions,
        count(*) filter (where event_type = 'click') as clicks,
        count(*) filter (where event_type = 'cart') as carts,
        count(*) filter (where event_type = 'purchase') as purchases,
        max(event_time) as last_time
    from events
    where item_id is not null
    group by item_id
),
-- interactions has one row per user and item, so counting rows counts users.
reach as (
    select item_id, count(*) as users
    from interactions
    group by item_id
),
banded as (
    select item_id, quartile(place, items) as price_band
    from item_price_places placed
    join item_price_counts priced on
        (placed.category is not distinct from priced.category)
        and (placed.currency is not distinct from priced.currency)
)
select
    coalesce(counted.item_id, items.item_id) as item_id,
    coalesce(users, 0) as users,
    coalesce(views, 0) as views,
    coalesce(impressions, 0) as impressions,
    coalesce(clicks, 0) as clicks,
    coalesce(carts, 0) as carts,
    coalesce(purchases, 0) as purchases,
    (date_part('epoch', as_of()) - date_part('epoch', last_time)) / 86400 as recency_days,
    cast(purchases as double) / nullif(views, 0) as conversion,
    cast(clicks as double) / nullif(impressions, 0) as click_rate,
    price_band,
    category,
    brand,
    items.item_id is not null as in_catalogue
from counted
full join items on items.item_id = counted.item_id
left join reach on reach.item_id = coalesce(counted.item_id, items.item_id)
left join banded on banded.item_id = items.item_id
where counted.item_id is null or coalesce(users, 0) >= setting('min_group')
