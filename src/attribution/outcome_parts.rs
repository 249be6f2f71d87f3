//! Outcomes that are too many for the memory, and the impressions that they may be credited to, divided by item over spill
//! files: an outcome is of the item of its impression, whether by request or as the last one.
//!
//! Of a hundred impressions hardly one can matter to an outcome. A filter of what outcomes name tells which: each impression
//! is asked for its request and item, and its user and item, and those that no outcome names are left out. What the filter
//! lets through by mistake is found out later, text by text. An outcome must also know whether the log has its request at all,
//! under any item: of each response with a request that is named, one row without a model goes to all parts.

use arrow::array::{Array, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use xxhash_rust::xxh3::xxh3_64;

use super::outcomes::{pair, texts_of};
use crate::engine::rows::valid;
use crate::engine::spool::{Dividing, Spool, Spooled, shared};
use crate::error::Result;

/// Bytes of outcomes, and of impressions, that are held at a time.
const HELD: usize = 8 << 20;

/// Outcomes and impressions on their way into parts. All outcomes come before the first impression.
pub struct Parts {
    outcomes: Dividing,
    impressions: Dividing,
    responses: Spool,
    /// Request and item, user and item.
    pairs: Filter,
    requests: Filter,
}

/// One part: its outcomes, and impressions among which are all that can matter to them.
pub struct Part {
    /// The outcomes.
    pub outcomes: Spooled,
    /// The impressions.
    pub impressions: Spooled,
}

impl Parts {
    /// So many parts for so many outcomes, over spools of a schema each.
    pub fn new(
        parts: usize,
        outcomes: usize,
        schemas: (&SchemaRef, &SchemaRef),
        spool: impl Fn(&SchemaRef) -> Spool,
    ) -> Self {
        let spools = |schema| Dividing::over(shared((0..parts).map(|_| spool(schema))), HELD);
        Parts {
            outcomes: spools(schemas.0),
            impressions: spools(schemas.1),
            responses: spool(schemas.1),
            pairs: Filter::new(2 * outcomes),
            requests: Filter::new(outcomes),
        }
    }

    /// Adds outcomes.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add_outcomes(&mut self, batch: &RecordBatch) -> Result<()> {
        let [user, item, request] =
            ["user_id", "item_id", "request_id"].map(|n| texts_of(batch, n));
        let (user, item, request) = (user?, item?, request?);
        let parts = self.outcomes.spools();
        for row in 0..batch.num_rows() {
            let of = item.value(row);
            self.outcomes.place(row, part(of, parts));
            self.pairs.insert(pair(user.value(row), of));
            if let Some(request) = valid(&request, row) {
                self.pairs.insert(pair(request, of));
                self.requests.insert(xxh3_64(request.as_bytes()));
            }
        }
        self.outcomes.push(batch.clone())
    }

    /// Adds those of the impressions that can matter.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add_impressions(&mut self, batch: &RecordBatch) -> Result<()> {
        let [user, item, request] =
            ["user_id", "item_id", "request_id"].map(|n| texts_of(batch, n));
        let (user, item, request, model) = (user?, item?, request?, texts_of(batch, "model_id")?);
        let parts = self.impressions.spools();
        let mut responses: Vec<u32> = vec![];
        let mut last: Option<&str> = None;
        for row in 0..batch.num_rows() {
            let (of, named) = (item.value(row), request.value(row));
            // The items of a response follow each other.
            if last != Some(named) {
                last = Some(named);
                if self.requests.contains(xxh3_64(named.as_bytes())) {
                    responses.push(row as u32);
                }
            }
            let matters = model.is_valid(row)
                && (self.pairs.contains(pair(named, of))
                    || self.pairs.contains(pair(user.value(row), of)));
            if matters {
                self.impressions.place(row, part(of, parts));
            }
        }
        self.impressions.push(batch.clone())?;
        if responses.is_empty() {
            return Ok(());
        }
        let rows = take_record_batch(batch, &UInt32Array::from(responses))?;
        let mut columns = rows.columns().to_vec();
        let model = rows.schema().index_of("model_id")?;
        columns[model] = new_null_array(columns[model].data_type(), rows.num_rows());
        self.responses
            .push(&RecordBatch::try_new(rows.schema(), columns)?)
    }

    /// The parts, and the rows that go to all of them.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn finish(self) -> Result<(Vec<Part>, Spooled)> {
        let outcomes = self.outcomes.finish()?.into_iter();
        let parts = outcomes.zip(self.impressions.finish()?);
        let parts = parts.map(|(outcomes, impressions)| Part {
            outcomes,
            impressions,
        });
        Ok((parts.collect(), self.responses.finish()?))
    }
}

fn part(item: &str, parts: usize) -> usize {
    (xxh3_64(item.as_bytes()) % parts as u64) as usize
}

/// A set of hashes that takes some others for its own: a Bloom filter whose bits of a hash lie in one word (Putze, Sanders and
/// Singler, Cache-, Hash- and Space-Efficient Bloom Filters, 2007).
struct Filter(Vec<u64>);

impl Filter {
    /// 16 bits for each hash, of which each sets four: of a hundred others it takes about one for its own.
    fn new(hashes: usize) -> Self {
        Filter(vec![0; (hashes / 4 + 1).next_power_of_two()])
    }

    fn place(&self, hash: u64) -> (usize, u64) {
        let bit = |n: u32| 1_u64 << (hash >> (6 * n) & 63);
        let bits = bit(0) | bit(1) | bit(2) | bit(3);
        ((hash >> 24) as usize & (self.0.len() - 1), bits)
    }

    fn insert(&mut self, hash: u64) {
        let (word, bits) = self.place(hash);
        self.0[word] |= bits;
    }

    fn contains(&self, hash: u64) -> bool {
        let (word, bits) = self.place(hash);
        self.0[word] & bits == bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_has_all_its_own_and_few_others() {
        let mut filter = Filter::new(10_000);
        let hash = |n: u64| xxh3_64(&n.to_le_bytes());
        (0..10_000).for_each(|n| filter.insert(hash(n)));
        assert!((0..10_000).all(|n| filter.contains(hash(n))));
        let others = (10_000..110_000)
            .filter(|n| filter.contains(hash(*n)))
            .count();
        assert!(others < 2_000, "{others} of 100,000");
    }
}
