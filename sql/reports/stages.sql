-- The stages of the newest run that was published. Inputs: runs.
select stage, status, seconds, rows, peak_rss_bytes, device, message
from runs
where run_id = (select max(run_id) from runs where stage = 'run' and status = 'done')
order by started_at, stage
