-- seen_prices: of each user who saw a price in the window, the currency seen most and the mean price in it. A step of
-- user_features.
-- Inputs: events (the window, nothing at or after as_of()).
-- Divided by: user_id.
with seen as (
    select
        user_id,
        currency,
        avg(price) as mean_price,
        row_number() over (partition by user_id order by count(*) desc, currency) as place
    from events
    where event_type in ('view', 'click', 'cart', 'purchase') and price is not null
    group by user_id, currency
)
select user_id, currency, mean_price
from seen
where place = 1
