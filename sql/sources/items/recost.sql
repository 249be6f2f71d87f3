-- Dialect `recost` of the catalogue → items: one row per item of the day's snapshot.
-- optional: description, attributes, created_at, unit_cost
select
    _row,
    item_id,
    title,
    description,
    category,
    brand,
    price,
    unit_cost,
    currency,
    attributes,
    created_at
from source
