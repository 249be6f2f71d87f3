-- I6: every allocation leads back to a charge (or, moving idle on, to a pool), a rule and its version.
-- Inputs: charges, allocations, grouped together rather than joined: groups spill where a month has millions of charges.
select row_id, min(rule) as rule, min(rule_version) as rule_version
from (
    select row_id, cast(null as varchar) as rule, cast(null as varchar) as rule_version, 1 as charges
    from charges
    union all
    select row_id, rule, rule_version, 0
    from allocations
    where basis = 'usage'
) as rows
group by row_id
having sum(charges) = 0
union all
select row_id, rule, rule_version
from allocations
where rule = '' or rule_version = ''
