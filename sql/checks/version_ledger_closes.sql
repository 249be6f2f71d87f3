-- I8: opening + incurred + transferred − recognised − written off = closing; each opening is the closing before it; what
-- one line of a model hands over, others take.
-- Inputs: version_ledger.
with lines as (
    select
        *,
        lag(closing) over (partition by model_id, model_version, currency order by day) as closing_before
    from version_ledger
)
select 'closing' as what, day, model_id, model_version, currency, opening + incurred + transferred - recognised - written_off as expected, closing as found
from lines
where opening + incurred + transferred - recognised - written_off <> closing
union all
select 'opening', day, model_id, model_version, currency, coalesce(closing_before, 0), opening
from lines
where coalesce(closing_before, 0) <> opening
union all
select 'transferred', day, model_id, null, currency, cast(0 as decimal(38, 18)), sum(transferred)
from version_ledger
group by day, model_id, currency
having sum(transferred) <> 0
