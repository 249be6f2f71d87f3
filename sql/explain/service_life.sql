-- How the cost to make a version is recognised over its service life: one row per version × currency × month in which it moved.
-- opening + incurred + transferred − recognised − written_off = closing, and each opening is the closing before it; recognised
-- / used is what each unit of the service life bore. Inputs: version_ledger (of the model or version).
select
    model_version, currency, to_char(day, '%Y-%m') as month,
    first_value(opening order by day) as opening,
    sum(incurred) as incurred,
    sum(transferred) as transferred,
    sum(recognised) as recognised,
    sum(written_off) as written_off,
    last_value(closing order by day) as closing,
    sum(used) as used,
    first_value(life_before order by day) as life_before,
    last_value(life_after order by day) as life_after,
    last_value(life_unit order by day) as life_unit,
    per(sum(recognised), 1, sum(used)) as recognised_per_unit,
    last_value(policy order by day) as policy
from version_ledger
group by model_version, currency, to_char(day, '%Y-%m')
order by (model_version is null), model_version, currency, month
