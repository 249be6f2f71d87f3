-- seen_prices: of each user who saw a price in the window, the currency seen most and the mean price in it. A step of
-- user_features.
-- Inputs: events (the window, nothing at or after as_of()).
-- Divided by: user_id.
with seen as (
    select user_id, currency, avg(price) as mean_price, count(*) as times
    from events
    where event_type in ('view', 'click', 'cart', 'purchase') and price is not null
    group by user_id, currency
)
select
    user_id,
    first_value(currency order by times desc, currency) as currency,
    first_value(mean_price order by times desc, currency) as mean_price
from seen
group by user_id
