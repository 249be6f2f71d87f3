-- Driver runs: how long each recorded run worked for each model version and stage. Its resource is the id of the run.
select
    run_id as resource_id,
    usage_start as period_start,
    usage_end as period_end,
    model_id,
    model_version,
    stage,
    cast(date_part('epoch', usage_end - usage_start) * 1000000 as bigint) as weight
from usage
where run_id is not null
