-- price_counts: how many users see most prices in a currency. A step of user_features. Inputs: seen_prices.
select currency, count(*) as users
from seen_prices
group by currency
