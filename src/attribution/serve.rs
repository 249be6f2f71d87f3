//! `recommendation_costs`: what each model cost on a day, divided over the recommendations that it showed that day.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringViewArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int64Type};
use chrono::NaiveDate;
use futures::{StreamExt, TryStreamExt};

use super::split_served;
use super::stage::contract;
use crate::engine::{Engine, Library};
use crate::error::{Error, Result};
use crate::money::Money;
use crate::warehouse::{TableWriter, Type, store};

/// Run cost and full cost of a model version on a day, units of 10⁻¹⁸.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Cost {
    run: i128,
    full: i128,
}

/// Day, model → currency → version → cost.
type ModelDays = BTreeMap<(i32, String), BTreeMap<String, BTreeMap<Option<String>, Cost>>>;

/// Writes the table for every day of the window, `threads` days at a time. The session has the view `model_days`. Returns
/// the rows.
///
/// # Errors
/// Those of SQL and of writing.
pub async fn run(
    engine: &Engine,
    library: &Library,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    threads: usize,
) -> Result<u64> {
    let costs = Arc::new(Costs::read(engine).await?);
    let sql: Arc<str> = library.get("attribution/served.sql")?.into();
    let days: Vec<NaiveDate> = window
        .0
        .iter_days()
        .take_while(|d| *d <= window.1)
        .collect();
    let rows: Vec<u64> = futures::stream::iter(days)
        .map(|day| {
            let engine = engine.single();
            let (costs, sql, snapshot) =
                (Arc::clone(&costs), Arc::clone(&sql), snapshot.to_path_buf());
            let runtime = tokio::runtime::Handle::current();
            async move {
                tokio::task::spawn_blocking(move || {
                    runtime.block_on(day_of(&engine, &sql, &snapshot, &costs, day))
                })
                .await
                .map_err(|e| Error::unexpected(format!("a worker ended early: {e}")))?
            }
        })
        .buffered(threads)
        .try_collect()
        .await?;
    Ok(rows.iter().sum())
}

/// Writes one day's partition. Returns the recommendations that were served.
async fn day_of(
    engine: &Engine,
    sql: &str,
    snapshot: &Path,
    costs: &Costs,
    day: NaiveDate,
) -> Result<u64> {
    let table = contract("recommendation_costs")?;
    let dir = store::replace(snapshot, table, &day.to_string())?;
    let date = Date32Type::from_naive_date(day);
    if !costs.served.contains(&date) {
        return Ok(0);
    }
    let mut stream = engine.between(sql, "event_time", day).await?;
    let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
    let mut group = Group::default();
    let mut count = 0;
    let nothing = BTreeMap::new();
    loop {
        let batch = stream.next().await.transpose()?;
        let complete = match &batch {
            Some(batch) => group.add(batch)?,
            None => group.take()?.into_iter().collect(),
        };
        for (model, served) in complete {
            let first = first_showings(&served)?;
            let served = arrow::compute::take_record_batch(&served, &first)?;
            count += served.num_rows() as u64;
            let of = costs.days.get(&(date, model.clone()));
            for currency in costs.currencies(&model) {
                let versions = of.and_then(|c| c.get(currency)).unwrap_or(&nothing);
                writer.write(&divide(&served, currency, versions)?)?;
            }
        }
        if batch.is_none() {
            writer.finish()?;
            return Ok(count);
        }
    }
}

/// What models cost on each day, in which currencies, and on which days anything was served.
#[derive(Default)]
struct Costs {
    days: ModelDays,
    /// Days with an impression: asking each day of a long window alone would take far longer than asking once.
    served: BTreeSet<i32>,
    /// Currencies in which a model cost anything in the window.
    of_model: BTreeMap<String, BTreeSet<String>>,
    /// Currencies in which any model did.
    any: BTreeSet<String>,
}

impl Costs {
    /// The currencies in which a recommendation of a model has its cost, be it 0: those of the model, else those of all
    /// models, else `XXX`, which ISO 4217 keeps for no currency. So every recommendation served has its row.
    fn currencies(&self, model: &str) -> impl Iterator<Item = &str> {
        let known = self.of_model.get(model).unwrap_or(&self.any);
        let none = known.is_empty().then_some("XXX");
        known.iter().map(String::as_str).chain(none)
    }

    async fn read(engine: &Engine) -> Result<Self> {
        let mut costs = Self::default();
        let sql = "select distinct cast(event_time as date) as day from events
                   where event_type = 'impression' and model_id is not null and request_id is not null";
        for batch in engine.collect(sql).await? {
            let days = column(&batch, "day")?.as_primitive::<Date32Type>();
            costs.served.extend(days.values());
        }
        for batch in engine.collect("select * from model_days").await? {
            let text = |name: &str| -> Result<StringViewArray> {
                let column = cast(column(&batch, name)?, &DataType::Utf8View)?;
                Ok(column.as_string_view().clone())
            };
            let money = |name: &str| -> Result<Decimal128Array> {
                let column = cast(column(&batch, name)?, &Type::Money.arrow())?;
                Ok(column.as_primitive::<Decimal128Type>().clone())
            };
            let (model, version) = (text("model_id")?, text("model_version")?);
            let currency = text("currency")?;
            let (run, full) = (money("run_cost")?, money("full_cost")?);
            let day = column(&batch, "day")?.as_primitive::<Date32Type>().clone();
            for row in 0..batch.num_rows() {
                let version = version
                    .is_valid(row)
                    .then(|| version.value(row).to_string());
                let cost = Cost {
                    run: run.value(row),
                    full: full.value(row),
                };
                let (model, currency) = (model.value(row), currency.value(row));
                costs.any.insert(currency.to_string());
                costs
                    .of_model
                    .entry(model.to_string())
                    .or_default()
                    .insert(currency.to_string());
                costs
                    .days
                    .entry((day.value(row), model.to_string()))
                    .or_default()
                    .entry(currency.to_string())
                    .or_default()
                    .insert(version, cost);
            }
        }
        Ok(costs)
    }
}

/// The recommendations of one model, gathered from batches sorted by model.
#[derive(Default)]
struct Group {
    model: Option<String>,
    parts: Vec<RecordBatch>,
}

impl Group {
    /// Adds a batch; gives the models that are complete.
    fn add(&mut self, batch: &RecordBatch) -> Result<Vec<(String, RecordBatch)>> {
        let models = cast(column(batch, "model_id")?, &DataType::Utf8View)?;
        let models = models.as_string_view();
        let mut complete = vec![];
        let mut start = 0;
        for row in 0..=batch.num_rows() {
            let ends = row == batch.num_rows() || self.model.as_deref() != Some(models.value(row));
            if !ends {
                continue;
            }
            if row > start {
                self.parts.push(batch.slice(start, row - start));
            }
            if row < batch.num_rows() {
                complete.extend(self.take()?);
                self.model = Some(models.value(row).to_string());
                start = row;
            }
        }
        Ok(complete)
    }

    fn take(&mut self) -> Result<Option<(String, RecordBatch)>> {
        let parts = std::mem::take(&mut self.parts);
        match (self.model.take(), parts.first()) {
            (Some(model), Some(first)) => {
                Ok(Some((model, concat_batches(&first.schema(), &parts)?)))
            }
            _ => Ok(None),
        }
    }
}

/// The rows of one model, day and currency; `rows` are the recommendations served, each once.
///
/// A version's cost goes to what that version showed; the cost of versions that showed nothing that day (one in training,
/// say), and cost that names no version, goes to all that the model showed. So the rows add up to the model's day.
fn divide(
    rows: &RecordBatch,
    currency: &str,
    versions: &BTreeMap<Option<String>, Cost>,
) -> Result<RecordBatch> {
    let n = rows.num_rows();
    let version = cast(column(rows, "model_version")?, &DataType::Utf8View)?;
    let version = version.as_string_view();
    let compute = column(rows, "compute_ns")?.as_primitive::<Int64Type>();
    let weight = |row: usize| {
        if compute.is_valid(row) {
            compute.value(row).unsigned_abs()
        } else {
            0
        }
    };
    let mut of_version: BTreeMap<Option<&str>, Vec<usize>> = BTreeMap::new();
    for row in 0..n {
        let v = version.is_valid(row).then(|| version.value(row));
        of_version.entry(v).or_default().push(row);
    }
    let mut run = vec![0i128; n];
    let mut full = vec![0i128; n];
    let mut common = Cost::default();
    let mut give = |cost: Cost, to: &[usize]| -> Result<()> {
        let weights: Vec<u64> = to.iter().map(|r| weight(*r)).collect();
        for (amount, column) in [(cost.run, &mut run), (cost.full, &mut full)] {
            let parts = split_served(Money(amount), &weights)
                .map_err(|e| Error::check(format!("dividing a model's day: {e}")))?
                .unwrap_or_default();
            for (row, part) in to.iter().zip(parts) {
                column[*row] += part;
            }
        }
        Ok(())
    };
    for (v, cost) in versions {
        match of_version.get(&v.as_deref()).filter(|_| v.is_some()) {
            Some(to) => give(*cost, to)?,
            None => {
                common.run += cost.run;
                common.full += cost.full;
            }
        }
    }
    if common != Cost::default() {
        let all: Vec<usize> = (0..n).collect();
        give(common, &all)?;
    }
    let money = |values: Vec<i128>| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_data_type(Type::Money.arrow()))
    };
    let currencies: StringViewArray = (0..n).map(|_| Some(currency)).collect();
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("request_id", Arc::clone(column(rows, "request_id")?), false),
        ("rank", Arc::clone(column(rows, "rank")?), false),
        ("item_id", Arc::clone(column(rows, "item_id")?), false),
        ("model_id", Arc::clone(column(rows, "model_id")?), false),
        (
            "model_version",
            Arc::clone(column(rows, "model_version")?),
            true,
        ),
        ("surface", Arc::clone(column(rows, "surface")?), true),
        ("currency", Arc::new(currencies) as ArrayRef, false),
        ("compute_ns", Arc::clone(column(rows, "compute_ns")?), true),
        ("run_cost", money(run), false),
        ("full_cost", money(full), false),
    ])?)
}

/// Indices of the rows that show an item in a request for the first time; the others are retries.
fn first_showings(served: &RecordBatch) -> Result<Int64Array> {
    let texts =
        |name: &str| -> Result<ArrayRef> { Ok(cast(column(served, name)?, &DataType::Utf8View)?) };
    let (requests, items) = (texts("request_id")?, texts("item_id")?);
    let (requests, items) = (requests.as_string_view(), items.as_string_view());
    Ok((0..served.num_rows())
        .filter(|row| {
            *row == 0
                || requests.value(*row) != requests.value(row - 1)
                || items.value(*row) != items.value(row - 1)
        })
        .filter_map(|row| i64::try_from(row).ok())
        .collect::<Vec<_>>()
        .into())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(name)
        .ok_or_else(|| Error::config(format!("attribution/served.sql gives no column {name}")))
}
