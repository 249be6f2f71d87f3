-- I6: every allocation leads back to a charge (or, moving idle on, to a pool), a rule and its version.
select allocations.row_id, rule, rule_version
from allocations
left join charges on charges.row_id = allocations.row_id
where (basis = 'usage' and charges.row_id is null) or rule = '' or rule_version = ''
