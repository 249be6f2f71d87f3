-- machine_price: what a machine cost, and for how long. Inputs: charges (of one machine, one currency, and some days).
-- A charge period counts once, however many charges it has (processor, memory, licence); it lasts as many hours as were
-- consumed where the bill counts hours, else from its start to its end. No row where nothing was used.
with periods as (
    select
        charge_period_start,
        charge_period_end,
        sum(effective_cost) as effective_cost,
        max(case when lower(consumed_unit) in ('hour', 'hours', 'hrs', 'h') then consumed_quantity end) as hours
    from charges
    where charge_category = 'Usage'
    group by charge_period_start, charge_period_end
)
select
    sum(effective_cost) as effective_cost,
    sum(
        coalesce(
            cast(round(hours * 3600) as bigint),
            cast(date_part('epoch', charge_period_end) - date_part('epoch', charge_period_start) as bigint)
        )
    ) * 1000000 as micros,
    min(cast(charge_period_start as date)) as first_day,
    max(cast(charge_period_start as date)) as last_day
from periods
where effective_cost > 0
having count(*) > 0
