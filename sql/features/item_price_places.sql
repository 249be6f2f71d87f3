-- item_price_places: the place of each item's price among those of its category in the same currency, 0 the cheapest. A step
-- of item_features. Inputs: items (the newest snapshot).
-- Numbering row by row needs no more memory than its sort; ntile holds a whole category.
select
    item_id,
    category,
    currency,
    cast(row_number() over (partition by category, currency order by price, item_id) as bigint) - 1 as place
from items
where price is not null
