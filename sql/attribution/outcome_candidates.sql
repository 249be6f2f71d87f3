-- What may be credited to a recommendation: clicks and purchases of an item, one row per event.
-- Inputs: events, items (the newest catalogue). revenue is price × quantity of a purchase; margin is what of it is left
-- after the item's unit cost, where the catalogue has one in the same currency, and margin_revenue the revenue that it is
-- the margin of.
select
    events.event_id,
    events.event_type,
    events.event_time,
    events.user_id,
    events.item_id,
    events.request_id,
    events.currency,
    cast(
        case when events.event_type = 'purchase' then cast(events.price as decimal(38, 18)) * events.quantity end
        as decimal(38, 18)
    ) as revenue,
    cast(
        case
            when events.event_type = 'purchase' then
                (cast(events.price as decimal(38, 18)) - cast(items.unit_cost as decimal(38, 18))) * events.quantity
        end
        as decimal(38, 18)
    ) as margin,
    cast(
        case
            when events.event_type = 'purchase' and items.unit_cost is not null then
                cast(events.price as decimal(38, 18)) * events.quantity
        end
        as decimal(38, 18)
    ) as margin_revenue
from events
left join items on items.item_id = events.item_id and items.currency = events.currency
where events.event_type in ('click', 'purchase') and events.item_id is not null
