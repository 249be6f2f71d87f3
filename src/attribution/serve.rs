//! `recommendation_costs`: what each model cost on a day, divided over the recommendations that it showed that day.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringViewArray,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Int64Type};
use chrono::NaiveDate;
use futures::StreamExt;

use super::served::each_day;
use super::split_served;
use super::stage::restrict_days;
use super::work::contract;
use crate::engine::rows::map;
use crate::engine::{Engine, Library, Options, compact};
use crate::error::{Error, Result};
use crate::money::{Money, SCALE};
use crate::warehouse::{TableWriter, Type, store};

/// The parts of what a model version cost on a day, units of 10⁻¹⁸; each is divided by itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Cost {
    run: i128,
    /// Recognised of the cost to make it.
    making: i128,
    /// Tax on running it, and its share of idle.
    overhead: i128,
}

/// Day, model → currency → version → cost.
type ModelDays = BTreeMap<(NaiveDate, String), BTreeMap<String, BTreeMap<Option<String>, Cost>>>;

/// Writes the table for every day of the window, `at_once` days at a time. The session has the view `model_days`; `shown`
/// are the days on which anything was shown. Returns the rows.
///
/// # Errors
/// Those of SQL and of writing.
pub async fn run(
    engine: &Engine,
    library: &Library,
    snapshot: &Path,
    (window, shown): ((NaiveDate, NaiveDate), &BTreeSet<NaiveDate>),
    at_once: usize,
) -> Result<u64> {
    let shown = Arc::new(shown.clone());
    let costs = Arc::new(Costs::read(engine).await?);
    let sql = library.get("attribution/served.sql")?.to_string();
    let snapshot = snapshot.to_path_buf();
    let served = each_day(engine, window, at_once, move |engine, day| {
        let (sql, snapshot) = (sql.clone(), snapshot.clone());
        let (costs, shown) = (Arc::clone(&costs), Arc::clone(&shown));
        async move {
            let table = contract("recommendation_costs")?;
            let dir = store::replace(&snapshot, table, &day.to_string())?;
            if !shown.contains(&day) {
                return Ok(0);
            }
            day_of(&engine, &sql, &dir.join("part-0.parquet"), &costs, day).await
        }
    })
    .await?;
    Ok(served.iter().sum())
}

/// The first day whose costs per recommendation are to be worked out: that of the window, or the first one before it in the
/// billing periods just attributed whose models cost something else than was published, and whose events are still there.
///
/// # Errors
/// Those of SQL.
pub async fn stale_from(
    library: &Library,
    options: &Options,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    periods: &[String],
) -> Result<NaiveDate> {
    let starts = periods
        .iter()
        .filter_map(|p| format!("{p}-01").parse().ok());
    let before = starts.min().zip(window.0.pred_opt());
    let Some(before) = before.filter(|(first, _)| *first < window.0) else {
        return Ok(window.0);
    };
    let engine = Engine::open(options, Some(snapshot), None)?;
    restrict_days(&engine, before).await?;
    let within = format!("ds between date '{}' and date '{}'", before.0, before.1);
    engine.restrict("unit_costs", &within).await?;
    let model_days = library.get("attribution/model_days.sql")?;
    engine.view("model_days", model_days).await?;
    let stale = engine
        .collect(library.get("attribution/stale_days.sql")?)
        .await?;
    let stale = map(&stale, |row| row.day("day"))?;
    // A day that never had costs per recommendation, or whose events are gone, stays as it is.
    let [said, events] =
        ["unit_costs", "events"].map(|t| store::partitions(snapshot, contract(t)?));
    let (said, events) = (said?, events?);
    let days = stale.into_iter().flatten().filter(|day| {
        let day = day.to_string();
        said.contains(&day) && events.contains(&day)
    });
    Ok(days.min().unwrap_or(window.0))
}

/// Writes one day's file. Returns the recommendations that were served.
async fn day_of(
    engine: &Engine,
    sql: &str,
    file: &Path,
    costs: &Costs,
    day: NaiveDate,
) -> Result<u64> {
    let mut stream = engine.between(sql, "event_time", day).await?;
    let mut writer = TableWriter::create(contract("recommendation_costs")?, file)?;
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
            let of = costs.days.get(&(day, model.clone()));
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

/// What models cost on each day, and in which currencies.
#[derive(Default)]
struct Costs {
    days: ModelDays,
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
        let found = engine.collect("select * from model_days").await?;
        let rows = map(&found, |row| {
            let money = |name: &str| Ok::<_, Error>(row.decimal(name, SCALE as i8)?.unwrap_or(0));
            let cost = Cost {
                run: money("run_cost")?,
                making: money("making_cost")?,
                overhead: money("tax_cost")? + money("idle_cost")?,
            };
            let key = (row.needed("model_id")?, row.text("model_version")?);
            Ok((row.day("day")?, key, row.needed("currency")?, cost))
        })?;
        let mut costs = Self::default();
        for (day, (model, version), currency, cost) in rows {
            costs.any.insert(currency.clone());
            let of = costs.of_model.entry(model.clone()).or_default();
            of.insert(currency.clone());
            let Some(day) = day else { continue };
            let of = costs.days.entry((day, model)).or_default();
            of.entry(currency).or_default().insert(version, cost);
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
                // What is gathered must not hold on to whole pages of the events.
                self.parts.push(compact(&batch.slice(start, row - start))?);
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
    let mut parts = [vec![0i128; n], vec![0i128; n], vec![0i128; n]];
    let mut common = Cost::default();
    let mut give = |cost: Cost, to: &[usize]| -> Result<()> {
        let weights: Vec<u64> = to.iter().map(|r| weight(*r)).collect();
        for (amount, column) in [cost.run, cost.making, cost.overhead]
            .into_iter()
            .zip(&mut parts)
            .filter(|(amount, _)| *amount != 0)
        {
            let shares = split_served(Money(amount), &weights)
                .map_err(|e| Error::check(format!("dividing a model's day: {e}")))?
                .unwrap_or_default();
            for (row, share) in to.iter().zip(shares) {
                column[*row] += share;
            }
        }
        Ok(())
    };
    for (v, cost) in versions {
        match of_version.get(&v.as_deref()).filter(|_| v.is_some()) {
            Some(to) => give(*cost, to)?,
            None => {
                common.run += cost.run;
                common.making += cost.making;
                common.overhead += cost.overhead;
            }
        }
    }
    if common != Cost::default() {
        let all: Vec<usize> = (0..n).collect();
        give(common, &all)?;
    }
    let [run, making, overhead] = parts;
    let full = run.iter().zip(&making).zip(&overhead);
    let full = full.map(|((run, making), overhead)| run + making + overhead);
    let full: Vec<i128> = full.collect();
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
        ("making_cost", money(making), false),
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
