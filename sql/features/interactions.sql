-- interactions: one row per user × item in the window, as models see them.
-- Inputs: events (the window, nothing at or after as_of()).
-- Divided by: user_id.
-- weight = Σ setting('weight_<event type>') · 2^(−age / half-life). It is added up in whole millionths of a millionth, so that
-- the sum does not depend on the order of the rows, and with 38 digits, which no number of events fills: weights are at most
-- 10¹². Invariant: weight > 0.
with weighed as (
    select
        user_id,
        item_id,
        event_type,
        event_time,
        case event_type
            when 'view' then setting('weight_view')
            when 'click' then setting('weight_click')
            when 'cart' then setting('weight_cart')
            else setting('weight_purchase')
        end * exp(
            -0.6931471805599453
            * (date_part('epoch', as_of()) - date_part('epoch', event_time))
            / (86400 * setting('half_life_days'))
        ) as weight
    from events
    where event_type in ('view', 'click', 'cart', 'purchase') and item_id is not null
)
select
    user_id,
    item_id,
    cast(sum(cast(round(weight * 1e12) as decimal(38, 0))) as double) / 1e12 as weight,
    count(*) as events,
    bool_or(event_type = 'purchase') as bought,
    max(event_time) as last_time
from weighed
group by user_id, item_id
having sum(cast(round(weight * 1e12) as decimal(38, 0))) > 0
