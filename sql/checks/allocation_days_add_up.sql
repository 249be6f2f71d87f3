-- allocation_days is what allocations add up to, line by line and to the last digit; and largest_allocations has of each day ×
-- currency × target × model × version × stage no more rows than there are, and where it has them all, all of the money.
-- Inputs: allocations, allocation_days, largest_allocations.
with added_up as (
    select
        billing_period, day, currency, target, model_id, model_version, stage, reason, category, charge_category, rule,
        rule_version, driver, basis, count(*) as parts, sum(billed) as billed, sum(effective) as effective
    from allocations
    group by
        billing_period, day, currency, target, model_id, model_version, stage, reason, category, charge_category, rule,
        rule_version, driver, basis
),
lines as (
    select *, 1 as sign from added_up
    union all
    select
        billing_period, day, currency, target, model_id, model_version, stage, reason, category, charge_category, rule,
        rule_version, driver, basis, parts, billed, effective, -1
    from allocation_days
),
kept as (
    select
        billing_period, day, currency, target, model_id, model_version, stage,
        sum(parts) as parts, sum(billed) as billed, sum(effective) as effective,
        sum(held) as held, sum(held_billed) as held_billed, sum(held_effective) as held_effective
    from (
        select
            billing_period, day, currency, target, model_id, model_version, stage, parts, billed, effective, 0 as held,
            cast(0 as decimal(38, 18)) as held_billed, cast(0 as decimal(38, 18)) as held_effective
        from allocation_days
        union all
        select
            billing_period, day, currency, target, model_id, model_version, stage, 0 as parts,
            cast(0 as decimal(38, 18)) as billed, cast(0 as decimal(38, 18)) as effective, 1 as held,
            billed as held_billed, effective as held_effective
        from largest_allocations
    ) as rows
    group by billing_period, day, currency, target, model_id, model_version, stage
)
select
    'allocation_days' as wrong, billing_period, day, currency, target, model_id, model_version, stage, rule,
    sum(sign * parts) as parts, sum(sign * billed) as billed, sum(sign * effective) as effective
from lines
group by
    billing_period, day, currency, target, model_id, model_version, stage, reason, category, charge_category, rule,
    rule_version, driver, basis
having sum(sign * parts) <> 0 or sum(sign * billed) <> 0 or sum(sign * effective) <> 0
union all
select
    'largest_allocations', billing_period, day, currency, target, model_id, model_version, stage, null,
    parts - held, billed - held_billed, effective - held_effective
from kept
where held > parts
    or (held = parts and (billed <> held_billed or effective <> held_effective))
    or (held < parts and held < (select max(place) from largest_allocations))
