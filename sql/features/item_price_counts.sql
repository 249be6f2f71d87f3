-- item_price_counts: how many items of a category have a price in a currency. A step of item_features. Inputs: items (the
-- newest snapshot).
select category, currency, count(*) as items
from items
where price is not null
group by category, currency
