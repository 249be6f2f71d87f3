-- One row per closed billing period. Inputs: closes.
select billing_period, cast(closed_at as date) as closed_on from closes order by billing_period
