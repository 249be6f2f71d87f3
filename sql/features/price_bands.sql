-- price_bands: the quartile of each user's mean price among those who see most prices in the same currency, 1 the cheapest.
-- A step of user_features. Inputs: seen_prices.
-- As ntile(4), whose first count % 4 bands have one user more, but row by row: ntile holds a whole currency in memory.
with placed as (
    select
        user_id,
        currency,
        cast(row_number() over (partition by currency order by mean_price, user_id) as bigint) - 1 as place
    from seen_prices
),
counted as (
    select currency, count(*) / 4 as quarter, count(*) % 4 as longer
    from seen_prices
    group by currency
)
select
    user_id,
    cast(greatest(place / (quarter + 1), (place - longer) / greatest(quarter, 1)) + 1 as int) as price_band
from placed
join counted on (placed.currency is not distinct from counted.currency)
