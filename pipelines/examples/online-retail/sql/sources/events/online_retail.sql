-- Order lines of a gift shop (UCI Online Retail) → events: one row per line that was bought.
-- A cancelled invoice (C…) is no sign of taste and is left out, and so are postage, fees and samples, whose code is no
-- article number. Lines without a customer or with a quantity below one reach the checks, which quarantine them.
select
    _row,
    "InvoiceNo" || '-' || cast(_row as varchar) as event_id,
    "InvoiceDate" as event_time,
    cast(cast("CustomerID" as bigint) as varchar) as user_id,
    "InvoiceNo" as session_id,
    'purchase' as event_type,
    upper("StockCode") as item_id,
    text("UnitPrice") as price,
    "Quantity" as quantity,
    'GBP' as currency
from source
where not starts_with("InvoiceNo", 'C') and regexp_like("StockCode", '^[0-9]{5}')
