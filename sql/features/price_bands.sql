-- price_bands: the quartile of each user's mean price among those who see most prices in the same currency, 1 the cheapest.
-- A step of user_features. Inputs: seen_prices.
select user_id, cast(ntile(4) over (partition by currency order by mean_price, user_id) as int) as price_band
from seen_prices
