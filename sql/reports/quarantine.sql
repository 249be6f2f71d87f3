-- One row per source × column × reason of the rows in quarantine, most frequent first. Inputs: quarantine.
select source, "column", reason, count(*) as rows, min(file || ', row ' || cast("row" as varchar)) as example
from quarantine
group by source, "column", reason
order by rows desc, source, "column", reason
limit 200
