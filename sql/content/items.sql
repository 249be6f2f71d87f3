-- content/items: what is known of an item before anybody took it up: one row per item and feature, with its weight.
-- Models with `content = true` learn from it a vector for items that have none. Inputs: items (the newest catalogue).
with banded as (
    select
        item_id,
        category,
        ntile(4) over (partition by category, currency order by price, item_id) as price_band
    from items
    where price is not null
),
properties as (
    select item_id, unnest(map_keys(attributes)) as name, unnest(map_values(attributes)) as value
    from items
),
-- A long title says no more than a short one: the squares of its words' weights add up to 1.
words as (
    select
        item_id,
        unnest(string_to_array(trim(regexp_replace(lower(title), '[^[:alnum:]]+', ' ', 'g')), ' ')) as word
    from items
),
counted as (
    select item_id, word, count(*) over (partition by item_id) as words
    from words
    where word <> ''
)
select item_id as id, concat('category=', category) as feature, cast(1 as double) as weight
from items
where category is not null
union all
select item_id, concat('brand=', brand), 1
from items
where brand is not null
union all
select item_id, concat('price=', category, ' ', price_band), 1
from banded
union all
select item_id, concat(name, '=', value), 1
from properties
where value is not null
union all
select item_id, concat('word=', word), 1 / sqrt(words)
from counted
