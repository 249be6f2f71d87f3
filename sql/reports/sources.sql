-- One row per source: rows in and out over all deliveries that count. Inputs: deliveries.
select
    source,
    kind,
    sum(files) as files,
    sum(rows_in) as rows_in,
    sum(rows_out) as rows_out,
    sum(rows_skipped) as rows_skipped,
    sum(rows_duplicate) as rows_duplicate,
    sum(rows_late) as rows_late,
    sum(rows_quarantined) as rows_quarantined
from deliveries
where status = 'active'
group by source, kind
order by kind, source
