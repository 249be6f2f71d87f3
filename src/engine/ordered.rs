//! Rows in the order of a text column, however many: in memory as long as they fit, else over spill files.
//!
//! The engine's own sort merges sorted runs, and holds a batch of every column of each run that it merges. Here rows go to
//! files by ranges of the text, and one file after another is sorted alone. Ids that are hashes come in no order, so the
//! first rows tell which ranges are as large as others: each row is written and read once, and nothing is merged.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringViewArray};
use arrow::compute::{cast, interleave_record_batch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::config::SpillCompression;
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc::Sender;

/// Rows of a batch that is given out; fewer are never divided.
const BATCH_ROWS: usize = 8192;

/// Files that rows are divided over.
const FILES: usize = 64;

/// Rows that the ranges of the files are found by, for each file.
const SAMPLE: usize = 64;

/// How often what does not fit is divided again, at most: rows with the same text cannot be divided.
const DEPTH: usize = 8;

/// The rows of a stream in the order of the text column `by`, with about `budget` bytes of them in memory. Rows with the
/// same text come in no order of their own.
pub(super) fn ordered(
    rows: SendableRecordBatchStream,
    by: &str,
    budget: usize,
    env: Arc<RuntimeEnv>,
) -> SendableRecordBatchStream {
    let mut reader = RecordBatchReceiverStream::builder(rows.schema(), 2);
    let (sink, by) = (reader.tx(), by.to_string());
    reader.spawn(async move {
        let sort = Sort { by, budget, env };
        sort.run(rows, 0, &sink).await?;
        Ok(())
    });
    reader.build()
}

struct Sort {
    by: String,
    budget: usize,
    env: Arc<RuntimeEnv>,
}

type Sink = Sender<Result<RecordBatch>>;

impl Sort {
    /// Sorts rows that were divided `depth` times already. False where nobody takes them any more.
    fn run<'a>(
        &'a self,
        mut rows: SendableRecordBatchStream,
        depth: usize,
        sink: &'a Sink,
    ) -> BoxFuture<'a, Result<bool>> {
        async move {
            let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
            let spill = SpillManager::new(Arc::clone(&self.env), metrics, rows.schema())
                .with_compression_type(SpillCompression::Lz4Frame);
            let mut held = Held::default();
            let (mut files, mut ranges) = (vec![], Ranges::default());
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                // What comes from a file of a table holds on to whole pages of it.
                held.push(if depth == 0 { compact(&batch)? } else { batch }, &self.by)?;
                let fits = held.bytes <= self.budget || held.rows <= BATCH_ROWS || depth >= DEPTH;
                if fits {
                    continue;
                }
                if files.is_empty() {
                    let new = |_| spill.create_in_progress_file("rows to be sorted");
                    files = (0..FILES).map(new).collect::<Result<Vec<_>>>()?;
                    ranges = held.ranges();
                }
                for (file, part) in std::mem::take(&mut held).divided(&ranges)? {
                    files[file].append_batch(&part)?;
                }
            }
            if files.is_empty() {
                return held.send(sink).await;
            }
            for (file, part) in held.divided(&ranges)? {
                files[file].append_batch(&part)?;
            }
            for file in &mut files {
                let Some(file) = file.finish()? else {
                    continue;
                };
                let rows = spill.read_spill_as_stream(file, None)?;
                if !self.run(rows, depth + 1, sink).await? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        .boxed()
    }
}

/// Rows in memory.
#[derive(Default)]
struct Held {
    batches: Vec<RecordBatch>,
    ids: Vec<StringViewArray>,
    rows: usize,
    bytes: usize,
}

impl Held {
    fn push(&mut self, batch: RecordBatch, by: &str) -> Result<()> {
        let ids = batch.column_by_name(by).ok_or_else(|| {
            DataFusionError::Plan(format!("there is no column {by} to sort rows by"))
        })?;
        let ids = cast(ids, &DataType::Utf8View)?;
        self.ids.push(ids.as_string_view().clone());
        self.rows += batch.num_rows();
        self.bytes += get_record_batch_memory_size(&batch);
        self.batches.push(batch);
        Ok(())
    }

    fn id(&self, (batch, row): (usize, usize)) -> &[u8] {
        let ids = &self.ids[batch];
        if ids.is_valid(row) {
            ids.value(row).as_bytes()
        } else {
            b""
        }
    }

    fn places(&self) -> impl Iterator<Item = (usize, usize)> {
        let rows = self.batches.iter().map(RecordBatch::num_rows).enumerate();
        rows.flat_map(|(batch, rows)| (0..rows).map(move |row| (batch, row)))
    }

    fn taken(&self, places: &[(usize, usize)]) -> Result<RecordBatch> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        Ok(interleave_record_batch(&batches, places)?)
    }

    /// Ranges that these rows divide evenly over.
    fn ranges(&self) -> Ranges {
        let step = (self.rows / (FILES * SAMPLE)).max(1);
        let mut sample: Vec<&[u8]> = self.places().step_by(step).map(|p| self.id(p)).collect();
        sample.sort_unstable();
        let first = |file: usize| {
            sample
                .get(file * sample.len() / FILES)
                .map(|id| id.to_vec())
        };
        Ranges((1..FILES).filter_map(first).collect())
    }

    /// The rows of each range that has some.
    fn divided(self, ranges: &Ranges) -> Result<Vec<(usize, RecordBatch)>> {
        let mut files = vec![vec![]; FILES];
        for place in self.places() {
            files[ranges.of(self.id(place))].push(place);
        }
        let some = files.into_iter().enumerate().filter(|(_, p)| !p.is_empty());
        some.map(|(file, places)| Ok((file, self.taken(&places)?)))
            .collect()
    }

    /// Gives the rows out in order. False where nobody takes them any more.
    async fn send(self, sink: &Sink) -> Result<bool> {
        let key = |id: &[u8]| {
            let mut start = [0; 16];
            let known = id.len().min(16);
            start[..known].copy_from_slice(&id[..known]);
            u128::from_be_bytes(start)
        };
        let mut order: Vec<(u128, (usize, usize))> = self
            .places()
            .map(|place| (key(self.id(place)), place))
            .collect();
        order.sort_unstable_by(|(a, at), (b, other)| {
            a.cmp(b).then_with(|| self.id(*at).cmp(self.id(*other)))
        });
        for some in order.chunks(BATCH_ROWS) {
            let places: Vec<(usize, usize)> = some.iter().map(|(_, place)| *place).collect();
            let batch = self.taken(&places)?;
            if sink.send(Ok(batch)).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Where the second and each further range of texts begins.
#[derive(Default)]
struct Ranges(Vec<Vec<u8>>);

impl Ranges {
    fn of(&self, id: &[u8]) -> usize {
        self.0.partition_point(|first| first.as_slice() <= id)
    }
}

/// The batch without what it holds on to besides its own texts.
///
/// # Errors
/// Those of making the batch.
pub fn compact(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |column: &ArrayRef| -> ArrayRef {
        match column.as_string_view_opt() {
            Some(texts) => Arc::new(texts.gc()),
            None => Arc::clone(column),
        }
    };
    let columns = batch.columns().iter().map(column).collect();
    RecordBatch::try_new(batch.schema(), columns)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use datafusion::physical_plan::memory::MemoryStream;
    use futures::TryStreamExt;

    fn rows(ids: &[Option<String>]) -> SendableRecordBatchStream {
        let batches: Vec<RecordBatch> = ids
            .chunks(1000)
            .map(|ids| {
                let numbers = ids
                    .iter()
                    .map(|id| id.as_ref().map_or(0, |t| t.len() as i64));
                let texts: ArrayRef = Arc::new(
                    ids.iter()
                        .map(Option::as_deref)
                        .collect::<StringViewArray>(),
                );
                RecordBatch::try_from_iter_with_nullable([
                    ("id", texts, true),
                    (
                        "n",
                        Arc::new(Int64Array::from_iter_values(numbers)) as ArrayRef,
                        true,
                    ),
                ])
                .unwrap()
            })
            .collect();
        let schema = batches[0].schema();
        Box::pin(MemoryStream::try_new(batches, schema, None).unwrap())
    }

    async fn sorted(ids: &[Option<String>], budget: usize) -> Vec<Option<String>> {
        let env = Arc::new(RuntimeEnv::default());
        let stream = ordered(rows(ids), "id", budget, env);
        let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        let mut found = vec![];
        for batch in &batches {
            let numbers = batch
                .column(1)
                .as_primitive::<arrow::datatypes::Int64Type>();
            for (id, n) in batch
                .column(0)
                .as_string_view()
                .iter()
                .zip(numbers.values())
            {
                assert_eq!(id.map_or(0, |t| t.len() as i64), *n);
                found.push(id.map(str::to_string));
            }
        }
        found
    }

    /// Ids as hashes, and texts that are none.
    fn ids(rows: u64) -> Vec<Option<String>> {
        let id = |n: u64| {
            let hash = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            match n % 997 {
                0 => None,
                1 => Some(String::new()),
                2 => Some(format!("A{n}")),
                3 => Some("the same text, and longer than a view".into()),
                4 => Some(format!("the same start of a text {n}")),
                _ => Some(format!("{hash:016x}{n:016x}")),
            }
        };
        (0..rows).map(id).collect()
    }

    #[tokio::test]
    async fn rows_come_in_order_whether_they_fit_or_not() {
        let ids = ids(60_000);
        let mut wanted = ids.clone();
        wanted.sort_by(|a, b| a.as_deref().unwrap_or("").cmp(b.as_deref().unwrap_or("")));
        let text = |ids: Vec<Option<String>>| -> Vec<String> {
            ids.into_iter().map(Option::unwrap_or_default).collect()
        };
        let wanted = text(wanted);
        for budget in [usize::MAX, 1 << 20, 1] {
            assert!(text(sorted(&ids, budget).await) == wanted, "{budget}");
        }
    }

    #[tokio::test]
    async fn rows_that_all_say_the_same_end_as_well() {
        let ids = vec![Some("one and the same, which is not inlined".to_string()); 20_000];
        assert_eq!(sorted(&ids, 1).await, ids);
    }

    #[tokio::test]
    async fn what_fits_touches_no_disk() {
        let env = Arc::new(RuntimeEnv::default());
        let ids = ids(9_000);
        let stream = ordered(rows(&ids), "id", 1 << 30, Arc::clone(&env));
        let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        assert_eq!(
            batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
            ids.len()
        );
        assert_eq!(env.disk_manager.used_disk_space(), 0);
    }
}
