//! Rows in an order, however many: in memory as long as they fit, else over spill files.
//!
//! The engine's own sort merges sorted runs, and holds a batch of every column of each run that it merges. Here rows go to
//! files by ranges of their key, and one file after another is sorted alone. Which ranges are as large as others is told by
//! the first rows where keys come in no order, as hashes do: each row is written and read once, and nothing is merged. Where
//! they come in some order, most rows end in one file, which is divided again by a sample of all that went there. A key that
//! takes more than a range has a file of its own, which is not sorted.
//!
//! A key is the bytes of the columns that rows are ordered by, such that keys compare as bytes (arrow's row format).

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MutableArrayData, RecordBatch, make_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{SortOptions, interleave_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::config::SpillCompression;
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{Expr, SortExpr};
use datafusion::physical_plan::SpillManager;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, SpillMetrics};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc::Sender;

use super::sample::{Sample, borders};

/// Rows of a batch that is given out; fewer are never divided.
const BATCH_ROWS: usize = 8192;

/// Files that rows are divided over.
const FILES: usize = 64;

/// Keys that the ranges of the files are found by, for each file: of rows in memory, and of what goes to a file.
const SAMPLE: (usize, usize) = (64, 8);

/// How often what does not fit is divided again, at most.
const DEPTH: usize = 8;

/// Columns by number, and how each is ordered.
pub(super) type Order = Vec<(usize, SortOptions)>;

/// The order that a query asks for, where it names columns of the schema alone.
pub(super) fn order_of(by: &[SortExpr], schema: &SchemaRef) -> Option<Order> {
    let column = |by: &SortExpr| {
        let Expr::Column(column) = &by.expr else {
            return None;
        };
        let options = SortOptions::new(!by.asc, by.nulls_first);
        Some((schema.index_of(&column.name).ok()?, options))
    };
    by.iter().map(column).collect()
}

/// The rows of a stream in an order, with about `budget` bytes of them in memory. Rows that are equal in it come in no order
/// of their own.
///
/// # Errors
/// When a column has a type that has no order.
pub(super) fn ordered(
    rows: SendableRecordBatchStream,
    by: &Order,
    budget: usize,
    env: Arc<RuntimeEnv>,
) -> Result<SendableRecordBatchStream> {
    let schema = rows.schema();
    let field = |(column, options): &(usize, SortOptions)| {
        let ty = schema.field(*column).data_type().clone();
        SortField::new_with_options(ty, *options)
    };
    let keys = RowConverter::new(by.iter().map(field).collect())?;
    let columns = by.iter().map(|(column, _)| *column).collect();
    let sort = Sort {
        keys,
        columns,
        budget,
        env,
        #[cfg(test)]
        most: Arc::default(),
    };
    let mut reader = RecordBatchReceiverStream::builder(schema, 2);
    let sink = reader.tx();
    reader.spawn(async move {
        sort.run(rows, (0, None), &sink).await?;
        Ok(())
    });
    Ok(reader.build())
}

struct Sort {
    keys: RowConverter,
    columns: Vec<usize>,
    budget: usize,
    env: Arc<RuntimeEnv>,
    /// Bytes held at most.
    #[cfg(test)]
    most: Arc<std::sync::atomic::AtomicUsize>,
}

type Sink = Sender<Result<RecordBatch>>;

impl Sort {
    /// Sorts rows that were divided `depth` times already, where it is known by ranges that divide them evenly. False where
    /// nobody takes them any more.
    fn run<'a>(
        &'a self,
        mut rows: SendableRecordBatchStream,
        (depth, ranges): (usize, Option<Ranges>),
        sink: &'a Sink,
    ) -> BoxFuture<'a, Result<bool>> {
        async move {
            let metrics = SpillMetrics::new(&ExecutionPlanMetricsSet::new(), 0);
            let spill = SpillManager::new(Arc::clone(&self.env), metrics, rows.schema())
                .with_compression_type(SpillCompression::Lz4Frame);
            let mut held = Held::default();
            let (mut files, mut samples, mut ranges) = (vec![], vec![], ranges);
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                // What comes from a file of a table holds on to whole pages of it.
                let batch = if depth == 0 { compact(&batch)? } else { batch };
                held.push(batch, self)?;
                #[cfg(test)]
                self.most
                    .fetch_max(held.bytes, std::sync::atomic::Ordering::Relaxed);
                let fits = held.bytes <= self.budget || held.rows <= BATCH_ROWS || depth >= DEPTH;
                if fits {
                    continue;
                }
                let ranges = ranges.get_or_insert_with(|| held.ranges());
                if files.is_empty() {
                    let new = |_| spill.create_in_progress_file("rows to be sorted");
                    let count = ranges.count();
                    files = (0..count).map(new).collect::<Result<Vec<_>>>()?;
                    samples.resize_with(count, || Sample::of(SAMPLE.1 * FILES));
                }
                std::mem::take(&mut held).divide(ranges, &mut samples, |range, rows| {
                    files[range].append_batch(&rows)?;
                    Ok(())
                })?;
            }
            let (Some(ranges), false) = (ranges, files.is_empty()) else {
                return held.send(sink).await;
            };
            held.divide(&ranges, &mut samples, |range, rows| {
                files[range].append_batch(&rows)?;
                Ok(())
            })?;
            for (range, (file, sample)) in files.iter_mut().zip(samples).enumerate() {
                let Some(file) = file.finish()? else {
                    continue;
                };
                let mut rows = spill.read_spill_as_stream(file, None)?;
                let taken = if ranges.is_one_key(range) {
                    send(&mut rows, sink).await?
                } else {
                    let within = Some(ranges_in(sample));
                    self.run(rows, (depth + 1, within), sink).await?
                };
                if !taken {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        .boxed()
    }
}

/// Gives rows out as they come. False where nobody takes them any more.
async fn send(rows: &mut SendableRecordBatchStream, sink: &Sink) -> Result<bool> {
    while let Some(batch) = rows.next().await {
        if sink.send(batch).await.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A row by the number of its batch and its own within it.
type Place = (u32, u32);

/// Rows in memory.
#[derive(Default)]
struct Held {
    batches: Vec<RecordBatch>,
    keys: Vec<Rows>,
    rows: usize,
    bytes: usize,
}

impl Held {
    fn push(&mut self, batch: RecordBatch, sort: &Sort) -> Result<()> {
        let columns = sort.columns.iter().map(|c| Arc::clone(batch.column(*c)));
        let keys = sort.keys.convert_columns(&columns.collect::<Vec<_>>())?;
        self.rows += batch.num_rows();
        self.bytes += get_record_batch_memory_size(&batch) + keys.size();
        self.bytes += batch.num_rows() * size_of::<(u64, Place)>();
        self.keys.push(keys);
        self.batches.push(batch);
        Ok(())
    }

    fn key(&self, (batch, row): Place) -> &[u8] {
        self.keys[batch as usize].row(row as usize).data()
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let rows = (0_u32..).zip(self.batches.iter().map(RecordBatch::num_rows));
        rows.flat_map(|(batch, rows)| (0..rows as u32).map(move |row| (batch, row)))
    }

    fn taken(&self, places: impl Iterator<Item = Place>) -> Result<RecordBatch> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        let places: Vec<(usize, usize)> = places.map(|(b, r)| (b as usize, r as usize)).collect();
        Ok(interleave_record_batch(&batches, &places)?)
    }

    /// Ranges that these rows divide evenly over.
    fn ranges(&self) -> Ranges {
        let mut sample = Sample::of(SAMPLE.0 * FILES);
        self.places()
            .for_each(|place| sample.see(|| self.key(place).to_vec()));
        ranges_in(sample)
    }

    /// Gives out the rows of each range that has some; its sample sees their keys.
    fn divide(
        self,
        ranges: &Ranges,
        samples: &mut [Sample<Vec<u8>>],
        mut give: impl FnMut(usize, RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let mut of_range = vec![vec![]; samples.len()];
        for place in self.places() {
            let key = self.key(place);
            let range = ranges.of(key);
            samples[range].see(|| key.to_vec());
            of_range[range].push(place);
        }
        for (range, places) in of_range.into_iter().enumerate() {
            if !places.is_empty() {
                give(range, self.taken(places.into_iter())?)?;
            }
        }
        Ok(())
    }

    /// Gives the rows out in order. False where nobody takes them any more.
    async fn send(self, sink: &Sink) -> Result<bool> {
        let same = self.same_start();
        let next = |key: &[u8]| {
            let mut bytes = [0; 8];
            let known = &key[same..key.len().min(same + 8)];
            bytes[..known.len()].copy_from_slice(known);
            u64::from_be_bytes(bytes)
        };
        let places = self.places();
        let mut order: Vec<(u64, Place)> = places.map(|p| (next(self.key(p)), p)).collect();
        order.sort_unstable_by(|(a, at), (b, other)| {
            a.cmp(b)
                .then_with(|| self.key(*at)[same..].cmp(&self.key(*other)[same..]))
        });
        for some in order.chunks(BATCH_ROWS) {
            let batch = self.taken(some.iter().map(|(_, place)| *place))?;
            if sink.send(Ok(batch)).await.is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Bytes that all keys begin with.
    fn same_start(&self) -> usize {
        let mut keys = self.places().map(|p| self.key(p));
        let Some(first) = keys.next() else { return 0 };
        keys.fold(first.len(), |same, key| {
            let (a, b) = (&first[..same], &key[..same.min(key.len())]);
            match a.iter().zip(b).position(|(a, b)| a != b) {
                Some(other) => other,
                None => b.len(),
            }
        })
    }
}

/// Ranges that the keys of a sample divide evenly over. A key that is a range and more is a range of its own.
fn ranges_in(sample: Sample<Vec<u8>>) -> Ranges {
    let mut first: Vec<Vec<u8>> = vec![];
    for key in borders(&sample.sorted(), FILES) {
        match first.last() {
            Some(last) if last == key => first.push(after(key)),
            Some(last) if last > key => {}
            _ => first.push(key.clone()),
        }
    }
    Ranges(first)
}

/// The least key that is greater.
fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

/// Where the second and each further range of keys begins.
struct Ranges(Vec<Vec<u8>>);

impl Ranges {
    fn count(&self) -> usize {
        self.0.len() + 1
    }

    fn of(&self, key: &[u8]) -> usize {
        self.0.partition_point(|first| first.as_slice() <= key)
    }

    /// Whether no two keys of a range can differ.
    fn is_one_key(&self, range: usize) -> bool {
        let (first, next) = (range.checked_sub(1).map(|r| &self.0[r]), self.0.get(range));
        first.is_some_and(|first| next == Some(&after(first)))
    }
}

/// The batch without what its columns hold on to besides its own rows: those of the batch that it is a slice of, and texts
/// of the pages that it was read from.
///
/// # Errors
/// Those of making the batch.
pub fn compact(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .map(owned)
        .collect::<Result<_, _>>()?;
    RecordBatch::try_new(batch.schema(), columns)
}

fn owned(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if let Some(texts) = column.as_string_view_opt() {
        return Ok(Arc::new(texts.gc()));
    }
    if let DataType::List(field) = column.data_type() {
        let lists = column.as_list::<i32>();
        let (first, last) = (lists.value_offsets()[0], lists.value_offsets()[lists.len()]);
        let items = lists
            .values()
            .slice(first as usize, (last - first) as usize);
        let offsets = OffsetBuffer::from_lengths(lists.offsets().lengths());
        let (field, nulls) = (Arc::clone(field), lists.nulls().cloned());
        let lists = ListArray::try_new(field, offsets, owned(&items)?, nulls)?;
        return Ok(Arc::new(lists));
    }
    let rows = column.to_data();
    let mut own = MutableArrayData::new(vec![&rows], false, rows.len());
    own.try_extend(0, 0, rows.len())?;
    Ok(make_array(own.freeze()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, ListBuilder, StringViewArray, StringViewBuilder};
    use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
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

    async fn in_order(
        rows: SendableRecordBatchStream,
        by: &Order,
        budget: usize,
    ) -> Vec<RecordBatch> {
        let env = Arc::new(RuntimeEnv::default());
        let stream = ordered(rows, by, budget, env).unwrap();
        stream.try_collect().await.unwrap()
    }

    async fn sorted(ids: &[Option<String>], budget: usize) -> Vec<Option<String>> {
        let by = vec![(0, SortOptions::default())];
        let batches = in_order(rows(ids), &by, budget).await;
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

    #[test]
    fn a_compact_slice_holds_its_own_rows_and_nothing_of_the_others() {
        let text = |n: usize| format!("a text too long to inline {n}");
        let texts: StringViewArray = (0..8192).map(|n| Some(text(n))).collect();
        let mut tags = ListBuilder::new(StringViewBuilder::new());
        for n in 0..8192 {
            (0..n % 3).for_each(|tag| tags.values().append_value(text(tag)));
            tags.append(n % 5 > 0);
        }
        let rows = RecordBatch::try_from_iter_with_nullable([
            ("text", Arc::new(texts) as ArrayRef, true),
            ("tags", Arc::new(tags.finish()), true),
            (
                "number",
                Arc::new(Int64Array::from_iter_values(0..8192)),
                false,
            ),
        ]);
        let slice = rows.unwrap().slice(1000, 100);
        let compact = compact(&slice).unwrap();
        assert_eq!(compact, slice);
        let bytes = |rows| get_record_batch_memory_size(rows);
        assert!(bytes(&compact) < 20_000, "{}", bytes(&compact));
        assert!(bytes(&slice) > 500_000, "{}", bytes(&slice));
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

    /// Bytes held at most while rows were sorted.
    async fn most_held(ids: &[Option<String>], budget: usize) -> usize {
        let field = SortField::new(DataType::Utf8View);
        let most = Arc::default();
        let sort = Sort {
            keys: RowConverter::new(vec![field]).unwrap(),
            columns: vec![0],
            budget,
            env: Arc::default(),
            most: Arc::clone(&most),
        };
        let (sink, mut taken) = tokio::sync::mpsc::channel::<Result<RecordBatch>>(1);
        let mut given = 0;
        let count = async {
            while let Some(batch) = taken.recv().await {
                given += batch.unwrap().num_rows();
            }
        };
        let rows = rows(ids);
        let sorting = async move { sort.run(rows, (0, None), &sink).await.unwrap() };
        tokio::join!(sorting, count);
        assert_eq!(given, ids.len());
        most.load(std::sync::atomic::Ordering::Relaxed)
    }

    #[tokio::test]
    async fn no_more_is_held_where_rows_come_in_order_or_are_the_same() {
        let budget = 1 << 21;
        let id = |n: u64| Some(format!("an id too long to inline {n:09}"));
        let ascending: Vec<_> = (0..400_000).map(id).collect();
        let descending: Vec<_> = ascending.iter().rev().cloned().collect();
        // Every second is of one key.
        let hot = (0..400_000).map(|n| id(if n % 2 == 0 { 7 } else { n }));
        let all = [ascending, descending, hot.collect()];
        for ids in &all {
            let most = most_held(ids, budget).await;
            assert!(most < budget + (1 << 20), "{most}");
        }
        let sorted = sorted(&all[2], budget).await;
        assert!(sorted.is_sorted());
    }

    #[tokio::test]
    async fn what_fits_touches_no_disk() {
        let env = Arc::new(RuntimeEnv::default());
        let ids = ids(9_000);
        let by = vec![(0, SortOptions::default())];
        let stream = ordered(rows(&ids), &by, 1 << 30, Arc::clone(&env)).unwrap();
        let batches: Vec<RecordBatch> = stream.try_collect().await.unwrap();
        assert_eq!(
            batches.iter().map(RecordBatch::num_rows).sum::<usize>(),
            ids.len()
        );
        assert_eq!(env.disk_manager.used_disk_space(), 0);
    }

    #[tokio::test]
    async fn several_columns_order_rows_each_its_own_way() {
        let batch = |start: i64| {
            let rows = start..start + 5_000;
            let groups = rows
                .clone()
                .map(|n| (n % 7 > 0).then(|| format!("{}", n % 7)));
            let groups: ArrayRef = Arc::new(groups.collect::<StringViewArray>());
            let times = rows.map(|n| (n % 13 > 0).then_some(n * 7_919 % 50_021));
            let times: ArrayRef = Arc::new(times.collect::<Int64Array>());
            RecordBatch::try_from_iter_with_nullable([
                ("group", groups, true),
                ("time", times, true),
            ])
            .unwrap()
        };
        let batches: Vec<RecordBatch> = (0..10).map(|n| batch(n * 5_000)).collect();
        let schema = batches[0].schema();
        let (last_down, first_up) = (SortOptions::new(true, false), SortOptions::new(false, true));
        let by = vec![(1, first_up), (0, last_down)];
        let all = concat_batches(&schema, &batches).unwrap();
        let keys = by.iter().map(|(column, options)| SortColumn {
            values: Arc::clone(all.column(*column)),
            options: Some(*options),
        });
        let order = lexsort_to_indices(&keys.collect::<Vec<_>>(), None).unwrap();
        let wanted = take_record_batch(&all, &order).unwrap();
        for budget in [usize::MAX, 1 << 17, 1] {
            let rows = MemoryStream::try_new(batches.clone(), Arc::clone(&schema), None).unwrap();
            let found = in_order(Box::pin(rows), &by, budget).await;
            assert_eq!(concat_batches(&schema, &found).unwrap(), wanted, "{budget}");
        }
    }
}
