-- content/users: what is known of a user before they took anything up: one row per user and feature, with its weight.
-- Models with `content = true` learn from it a vector for users who have none. Inputs: users (the newest export).
select user_id as id, concat('age=', age_band) as feature, cast(1 as double) as weight
from users
where age_band is not null
union all
select user_id, concat('gender=', gender), 1
from users
where gender is not null
union all
select user_id, concat('country=', country), 1
from users
where country is not null
union all
select user_id, concat('tag=', tag), 1
from (select user_id, unnest(tags) as tag from users)
where tag is not null
