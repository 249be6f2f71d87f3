-- How the cost to make a version is recognised day by day: recognised = (opening + incurred + transferred) × used / life_before.
-- One row per version × currency × day on which it moved. Inputs: version_ledger (of the model or version, some days).
select
    day, model_id, model_version, currency, opening, incurred, transferred, recognised, written_off, closing, used,
    life_before, life_after, life_unit, per(recognised, 1, used) as recognised_per_unit, policy
from version_ledger
order by model_id, (model_version is null), model_version, currency, day
