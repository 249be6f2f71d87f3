-- I4: what a billing period was closed with is what it holds today.
-- Inputs: closes, snapshot_hashes (made of snapshots and restatements).
select closes.billing_period, closes.hash, snapshot_hashes.hash as found
from closes
left join snapshot_hashes on snapshot_hashes.billing_period = closes.billing_period
where snapshot_hashes.hash is distinct from closes.hash
