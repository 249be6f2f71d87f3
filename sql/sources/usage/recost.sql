-- Dialect `recost` of the telemetry → usage: one row per resource × model × version × stage × interval.
-- optional: run_id
select
    _row,
    usage_start,
    usage_end,
    resource_id,
    model_id,
    model_version,
    stage,
    run_id,
    gpu_ns,
    cpu_ns,
    bytes,
    requests,
    reserved_ns,
    capacity_ns
from source
