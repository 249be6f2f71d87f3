-- Dialect `recost` of exchange rates: one row per rate. One unit of from_currency is `rate` units of to_currency, from
-- valid_from on, until a later rate of the same two currencies.
select
    _row,
    rate_id,
    valid_from,
    from_currency,
    to_currency,
    rate
from source
