-- The unit view: one row per model × version × currency: what it cost to make, and what became of it so far.
-- Inputs: version_ledger, served_days. served = 0 is a version that never shipped (or the model's line without a version):
-- what it cost is all in closing, until it is written off.
with served as (
    select model_id, model_version, min(ds) as first_served, max(ds) as last_served, sum(served) as served
    from served_days
    group by model_id, model_version
),
made as (
    select
        model_id, model_version, currency,
        min(day) as first_cost,
        sum(incurred) as incurred,
        sum(transferred) as transferred,
        sum(recognised) as recognised,
        sum(written_off) as written_off,
        sum(incurred + transferred - recognised - written_off) as closing,
        last_value(life_after order by day) as life_left,
        last_value(life_unit order by day) as life_unit,
        last_value(policy order by day) as policy
    from version_ledger
    group by model_id, model_version, currency
)
select
    made.model_id,
    made.model_version,
    made.currency,
    first_cost,
    first_served,
    last_served,
    coalesce(served, 0) as served,
    incurred,
    transferred,
    recognised,
    written_off,
    closing,
    life_left,
    life_unit,
    policy
from made
left join served
    on served.model_id = made.model_id and (served.model_version is not distinct from made.model_version)
order by made.currency, made.model_id, made.model_version
