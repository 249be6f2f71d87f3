-- price_places: the place of each user's mean price among those who see most prices in the same currency, 0 the cheapest. A
-- step of user_features. Inputs: seen_prices.
-- Numbering row by row needs no more memory than its sort; ntile holds a whole currency.
select
    user_id,
    currency,
    cast(row_number() over (partition by currency order by mean_price, user_id) as bigint) - 1 as place
from seen_prices
