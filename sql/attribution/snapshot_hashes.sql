-- One row per closed billing period: the hash over its snapshot and over the restatements booked in it.
-- Inputs: snapshots, restatements. What was closed is the same as long as its hash is.
with lines as (
    select
        billing_period,
        concat_ws(
            '|', 'snapshot', currency, target, coalesce(model_id, '-'), coalesce(model_version, '-'), coalesce(stage, '-'),
            category, text(usage_billed), text(usage_effective), text(allocation_billed), text(allocation_effective)
        ) as line
    from snapshots
    union all
    select
        billing_period,
        concat_ws(
            '|', 'restatement', restated_period, currency, target, coalesce(model_id, '-'), coalesce(model_version, '-'),
            coalesce(stage, '-'), category, text(usage_billed), text(usage_effective), text(allocation_billed),
            text(allocation_effective)
        ) as line
    from restatements
)
select billing_period, sha256_hex(string_agg(line, chr(10) order by line)) as hash
from lines
group by billing_period
