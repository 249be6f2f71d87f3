-- Dialect `recost` of the user base → users: one row per user of the day's snapshot.
-- optional: age_band, gender, country, signup_date, tags
select
    _row,
    user_id,
    age_band,
    gender,
    country,
    signup_date,
    tags
from source
