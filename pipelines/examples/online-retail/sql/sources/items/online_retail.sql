-- Order lines of a gift shop (UCI Online Retail) → items: one row per article number, with the last of its names in text order.
select
    min(_row) as _row,
    upper("StockCode") as item_id,
    max("Description") as title,
    'gifts' as category
from source
where regexp_like("StockCode", '^[0-9]{5}')
group by upper("StockCode")
