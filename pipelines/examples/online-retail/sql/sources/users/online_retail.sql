-- Order lines of a gift shop (UCI Online Retail) → users: one row per customer.
select
    min(_row) as _row,
    cast(cast("CustomerID" as bigint) as varchar) as user_id,
    max("Country") as country
from source
where "CustomerID" is not null
group by cast(cast("CustomerID" as bigint) as varchar)
