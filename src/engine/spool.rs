//! Rows that are read more than once, or later, however many: in memory as long as they fit, else in a spill file.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::compute::{concat_batches, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use datafusion::common::config::SpillCompression;
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::spill_file::SpillFile;
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::stream::{RecordBatchReceiverStream, RecordBatchStreamAdapter};
use futures::{StreamExt, stream};

use super::ordered::compact;
use crate::error::{Error, Result};

/// Rows of a batch, however few were pushed at a time.
const BATCH_ROWS: usize = 2048;

/// Rows being set aside.
pub struct Spool {
    schema: SchemaRef,
    spill: SpillManager,
    /// Bytes that may be held.
    budget: usize,
    /// Bytes held.
    bytes: usize,
    /// Few rows each, until they make a batch.
    few: Vec<RecordBatch>,
    few_rows: usize,
    held: Vec<RecordBatch>,
    file: Option<Append>,
}

/// Appends a batch to a spill file, or finishes it: the type of a file that is being written has no name outside of its
/// crate.
type Append = Box<dyn FnMut(Option<&RecordBatch>) -> Result<Option<Arc<dyn SpillFile>>> + Send>;

impl Spool {
    /// None yet, of which about `budget` bytes are to be held in memory: one more and all go to a spill file of `env`.
    pub(crate) fn new(env: Arc<RuntimeEnv>, schema: SchemaRef, budget: usize) -> Self {
        let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
        let spill = SpillManager::new(env, metrics, Arc::clone(&schema))
            .with_compression_type(SpillCompression::Lz4Frame);
        Spool {
            few: vec![],
            few_rows: 0,
            schema,
            spill,
            budget,
            bytes: 0,
            held: vec![],
            file: None,
        }
    }

    /// Adds rows.
    ///
    /// # Errors
    /// When the spill file cannot be written.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut start = 0;
        while start < batch.num_rows() {
            let rows = (batch.num_rows() - start).min(BATCH_ROWS - self.few_rows);
            // What is held must not hold on to all that it comes from.
            self.few.push(compact(&batch.slice(start, rows))?);
            self.few_rows += rows;
            start += rows;
            if self.few_rows >= BATCH_ROWS / 2 {
                self.keep()?;
            }
        }
        Ok(())
    }

    /// Adds all rows of a stream, and there are no more.
    ///
    /// # Errors
    /// Those of the stream, and as [`Spool::push`].
    pub async fn all(mut self, mut rows: SendableRecordBatchStream) -> Result<Spooled> {
        while let Some(batch) = rows.next().await {
            self.push(&batch?)?;
        }
        self.finish()
    }

    /// Bytes of the rows that make no batch yet.
    fn waiting(&self) -> usize {
        self.few.iter().map(get_record_batch_memory_size).sum()
    }

    fn keep(&mut self) -> Result<()> {
        let batch = concat_batches(&self.schema, &std::mem::take(&mut self.few))?;
        self.few_rows = 0;
        self.bytes += get_record_batch_memory_size(&batch);
        self.held.push(batch);
        if self.bytes <= self.budget && self.file.is_none() {
            return Ok(());
        }
        let append = match &mut self.file {
            Some(append) => append,
            none => none.insert(append(&self.spill)?),
        };
        for batch in self.held.drain(..) {
            append(Some(&batch))?;
        }
        self.bytes = 0;
        Ok(())
    }

    /// The rows, when there are no more.
    ///
    /// # Errors
    /// When the spill file cannot be written.
    pub fn finish(mut self) -> Result<Spooled> {
        if self.few_rows > 0 {
            self.keep()?;
        }
        let file = match &mut self.file {
            Some(append) => append(None)?,
            None => None,
        };
        Ok(Spooled {
            schema: self.schema,
            held: self.held,
            file,
        })
    }
}

fn append(spill: &SpillManager) -> Result<Append> {
    let mut file = spill.create_in_progress_file("rows set aside")?;
    Ok(Box::new(move |batch| match batch {
        Some(batch) => {
            file.append_batch(batch)?;
            Ok(None)
        }
        None => Ok(file.finish()?),
    }))
}

/// Spools that several threads divide rows over.
pub type Shared = Arc<Vec<Mutex<Spool>>>;

/// Spools to share.
pub fn shared(spools: impl Iterator<Item = Spool>) -> Shared {
    Arc::new(spools.map(Mutex::new).collect())
}

/// Rows being divided over spools: many batches at a time, so that each spool gets many rows at once.
pub struct Dividing {
    spools: Shared,
    /// Bytes that may be held.
    budget: usize,
    held: Vec<RecordBatch>,
    /// Bytes held; what batches share counts for each.
    bytes: usize,
    rows: usize,
    /// Batch and row of what each spool gets of those held.
    of_spool: Vec<Vec<(usize, usize)>>,
}

impl Dividing {
    /// None yet, of which about `budget` bytes are to be held at a time.
    pub fn over(spools: Shared, budget: usize) -> Self {
        Dividing {
            budget,
            held: vec![],
            bytes: 0,
            rows: 0,
            of_spool: vec![vec![]; spools.len()],
            spools,
        }
    }

    /// How many spools there are.
    pub fn spools(&self) -> usize {
        self.spools.len()
    }

    /// Adds a row of a batch that is [pushed](Self::push) afterwards to a spool.
    pub fn place(&mut self, row: usize, spool: usize) {
        self.of_spool[spool].push((self.held.len(), row));
        self.rows += 1;
    }

    /// Adds the rows of a batch that were given places.
    ///
    /// # Errors
    /// When a spill file cannot be written.
    pub fn push(&mut self, batch: RecordBatch) -> Result<()> {
        self.bytes += get_record_batch_memory_size(&batch);
        self.held.push(batch);
        let enough = self.rows >= BATCH_ROWS / 2 * self.spools.len();
        match enough || self.bytes > self.budget {
            true => self.divide(),
            false => Ok(()),
        }
    }

    fn divide(&mut self) -> Result<()> {
        let held: Vec<&RecordBatch> = self.held.iter().collect();
        // Rows that wait to make a batch: however many spools there are, they take no more together than what is held.
        let waiting = self.budget / self.spools.len().max(1);
        for (places, spool) in self.of_spool.iter_mut().zip(self.spools.iter()) {
            if !places.is_empty() {
                let rows = interleave_record_batch(&held, places)?;
                let mut spool = spool.lock().unwrap_or_else(PoisonError::into_inner);
                spool.push(&rows)?;
                if spool.waiting() > waiting {
                    spool.keep()?;
                }
                places.clear();
            }
        }
        self.held.clear();
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    /// Divides what is held, when there is no more.
    ///
    /// # Errors
    /// When a spill file cannot be written.
    pub fn end(mut self) -> Result<()> {
        self.divide()
    }

    /// As [`Dividing::end`]; gives what lies in spools that nobody else shares any more.
    ///
    /// # Errors
    /// As [`Dividing::end`].
    pub fn finish(self) -> Result<Vec<Spooled>> {
        let spools = Arc::clone(&self.spools);
        self.end()?;
        finish(spools)
    }
}

/// What lies in spools that nobody else shares any more.
///
/// # Errors
/// When a spill file cannot be written, or somebody still shares them.
pub fn finish(spools: Shared) -> Result<Vec<Spooled>> {
    let spools = Arc::into_inner(spools)
        .ok_or_else(|| Error::unexpected("spools are read while rows are divided over them"))?;
    let spools = spools.into_iter().map(Mutex::into_inner);
    spools
        .map(|spool| spool.unwrap_or_else(PoisonError::into_inner).finish())
        .collect()
}

/// Rows set aside.
pub struct Spooled {
    schema: SchemaRef,
    held: Vec<RecordBatch>,
    file: Option<Arc<dyn SpillFile>>,
}

impl std::fmt::Debug for Spooled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("rows set aside")
    }
}

impl Spooled {
    /// Their schema.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Bytes that they take in memory.
    pub fn bytes(&self) -> usize {
        self.held.iter().map(get_record_batch_memory_size).sum()
    }

    /// The rows as they came, as often as wanted.
    ///
    /// # Errors
    /// When the spill file cannot be read.
    pub fn rows(&self) -> Result<SendableRecordBatchStream> {
        self.rows_of((0..self.schema.fields().len()).collect())
    }

    /// Some columns of the rows; of the others in a spill file nothing is unpacked.
    ///
    /// # Errors
    /// When the spill file cannot be read.
    pub fn rows_of(&self, columns: Vec<usize>) -> Result<SendableRecordBatchStream> {
        let schema = Arc::new(self.schema.project(&columns)?);
        let Some(file) = self.file.as_ref() else {
            let held = self.held.iter().map(|batch| batch.project(&columns));
            let held: Vec<RecordBatch> = held.collect::<Result<_, _>>()?;
            let rows = stream::iter(held.into_iter().map(Ok));
            return Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)));
        };
        // The engine's own reader of spill files unpacks all columns.
        let file = Arc::clone(file);
        let mut reader = RecordBatchReceiverStream::builder(schema, 2);
        let sink = reader.tx();
        reader.spawn_blocking(move || {
            let path = file.path().ok_or_else(|| {
                DataFusionError::Internal("a spill file that lies nowhere".into())
            })?;
            let batches = StreamReader::try_new_buffered(File::open(path)?, Some(columns))?;
            for batch in batches {
                if sink.blocking_send(Ok(batch?)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        Ok(reader.build())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringViewArray};
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use futures::TryStreamExt;

    #[tokio::test]
    async fn rows_come_back_as_they_went_twice_from_memory_and_from_a_file() {
        let batch = |start: usize| {
            let texts =
                (start..start + 1000).map(|n| Some(format!("a text too long to inline {n}")));
            let texts: ArrayRef = Arc::new(texts.collect::<StringViewArray>());
            let numbers = Int64Array::from_iter_values(start as i64..start as i64 + 1000);
            RecordBatch::try_from_iter_with_nullable([
                ("text", texts, true),
                ("number", Arc::new(numbers) as _, false),
            ])
            .unwrap()
        };
        let all: Vec<RecordBatch> = (0..20).map(|n| batch(n * 1000)).collect();
        let schema = all[0].schema();
        let expected = arrow::compute::concat_batches(&schema, &all).unwrap();
        for budget in [0, usize::MAX] {
            let mut spool = Spool::new(Arc::default(), Arc::clone(&schema), budget);
            for batch in &all {
                spool.push(batch).unwrap();
            }
            let spooled = spool.finish().unwrap();
            assert_eq!(spooled.file.is_some(), budget == 0);
            for _ in 0..2 {
                let rows: Vec<_> = spooled.rows().unwrap().try_collect().await.unwrap();
                assert!(rows.iter().all(|b| b.num_rows() <= BATCH_ROWS));
                let rows = arrow::compute::concat_batches(&schema, &rows).unwrap();
                assert_eq!(rows, expected);
            }
            let second = spooled.rows_of(vec![1]).unwrap();
            let second: Vec<_> = second.try_collect().await.unwrap();
            let second = arrow::compute::concat_batches(&second[0].schema(), &second).unwrap();
            assert_eq!(second, expected.project(&[1]).unwrap());
        }
        let limit = RuntimeEnvBuilder::new().with_max_temp_directory_size(1000);
        let mut spool = Spool::new(limit.build_arc().unwrap(), Arc::clone(&schema), 0);
        let full = all.iter().try_for_each(|batch| spool.push(batch));
        let remedy = full.unwrap_err().remedy().unwrap().to_string();
        assert!(remedy.contains("spill_limit"), "{remedy}");
        let none = Spool::new(Arc::default(), schema, 0).finish().unwrap();
        assert_eq!(
            none.rows().unwrap().try_collect::<Vec<_>>().await.unwrap(),
            []
        );
    }
}
