//! `recommendation_costs`: what each model cost on a day, divided over the recommendations that it showed that day.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, RecordBatch, StringViewArray};
use chrono::NaiveDate;
use futures::StreamExt;

use super::recommendation::{ServedSplit, Weights};
use super::served::{Served, column, each, texts, times};
use super::stage::restrict_days;
use super::work::contract;
use crate::engine::rows::{map, valid};
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::money::{Currency, SCALE};
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

/// Writes the table for every day of the window, `threads` days at a time, of what was shown on it. The session has the view
/// `model_days`. Returns the rows.
///
/// # Errors
/// Those of SQL and of writing.
pub async fn run(
    engine: &Engine,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    mut shown: BTreeMap<NaiveDate, Vec<Served>>,
    threads: usize,
) -> Result<u64> {
    let costs = Arc::new(Costs::read(engine).await?);
    let snapshot = snapshot.to_path_buf();
    let days = window.0.iter_days().take_while(|d| *d <= window.1);
    let days = days.map(move |day| (day, shown.remove(&day)));
    let served = each(days, threads, move |(day, served)| {
        let (snapshot, costs) = (snapshot.clone(), Arc::clone(&costs));
        async move {
            let table = contract("recommendation_costs")?;
            let dir = store::replace(&snapshot, table, &day.to_string())?;
            let Some(served) = served else {
                return Ok(0);
            };
            let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
            let mut count = 0;
            for of_model in served {
                count += write(of_model, &costs, day, &mut writer).await?;
            }
            writer.finish()?;
            Ok(count)
        }
    })
    .await?;
    Ok(served.iter().sum())
}

/// The first day whose costs per recommendation are to be worked out: that of the window, or the first one before it in the
/// billing periods just attributed whose models cost something else than was published, and whose events are still there;
/// the first of these periods at all where a catalogue was corrected.
///
/// # Errors
/// Those of SQL.
pub async fn stale_from(
    library: &Library,
    options: &Options,
    snapshot: &Path,
    window: (NaiveDate, NaiveDate),
    (periods, corrected): (&[String], bool),
) -> Result<NaiveDate> {
    let starts = periods
        .iter()
        .filter_map(|p| format!("{p}-01").parse::<NaiveDate>().ok());
    let before = starts.min().zip(window.0.pred_opt());
    let Some(before) = before.filter(|(first, _)| *first < window.0) else {
        return Ok(window.0);
    };
    let stale: Vec<NaiveDate> = if corrected {
        before
            .0
            .iter_days()
            .take_while(|day| *day <= before.1)
            .collect()
    } else {
        let engine = Engine::open(options, Some(snapshot), None)?;
        restrict_days(&engine, before).await?;
        let within = format!("ds between date '{}' and date '{}'", before.0, before.1);
        engine.restrict("unit_costs", &within).await?;
        let model_days = library.get("attribution/model_days.sql")?;
        engine.view("model_days", model_days).await?;
        let stale = library.get("attribution/stale_days.sql")?;
        let stale = map(&engine.collect(stale).await?, |row| row.day("day"))?;
        stale.into_iter().flatten().collect()
    };
    // A day that never had costs per recommendation, or whose events are gone, stays as it is.
    let [said, events] =
        ["unit_costs", "events"].map(|t| store::partitions(snapshot, contract(t)?));
    let (said, events) = (said?, events?);
    let days = stale.into_iter().filter(|day| {
        let day = day.to_string();
        said.contains(&day) && events.contains(&day)
    });
    Ok(days.min().unwrap_or(window.0))
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
    /// models, else [none](Currency::NONE). So every recommendation served has its row.
    fn currencies(&self, model: &str) -> impl Iterator<Item = &str> {
        let known = self.of_model.get(model).unwrap_or(&self.any);
        let none = known.is_empty().then_some(Currency::NONE);
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

/// Writes what each recommendation of a model on a day cost. Returns how many there are.
async fn write(
    served: Served,
    costs: &Costs,
    day: NaiveDate,
    writer: &mut TableWriter,
) -> Result<u64> {
    let nothing = BTreeMap::new();
    let of_day = costs.days.get(&(day, served.model.clone()));
    for currency in costs.currencies(&served.model) {
        let costs = of_day.and_then(|c| c.get(currency)).unwrap_or(&nothing);
        let mut parts = Parts::new(&served.of_version, costs);
        while !parts.is_settled() {
            let mut pass = served.rows.rows()?;
            while let Some(batch) = pass.next().await {
                parts.see(&batch?)?;
            }
            parts.end_pass();
        }
        let mut pass = served.rows.rows()?;
        while let Some(batch) = pass.next().await {
            writer.write(&parts.of(&batch?, currency)?)?;
        }
    }
    Ok(served.of_version.values().map(Weights::count).sum())
}

/// How what a model cost on a day in one currency is divided over what it served.
///
/// A version's cost goes to what that version showed; the cost of versions that showed nothing that day (one in training,
/// say), and cost that names no version, goes to all that the model showed. So the rows add up to the model's day.
struct Parts {
    /// Of each version that showed anything, the splits of its own costs.
    of_version: BTreeMap<Option<String>, Splits>,
    /// Of what all share.
    common: Splits,
}

/// The splits of the parts of [`Cost`]; of nothing there is none.
type Splits = [Option<ServedSplit>; 3];

impl Parts {
    fn new(
        shown: &BTreeMap<Option<String>, Weights>,
        costs: &BTreeMap<Option<String>, Cost>,
    ) -> Self {
        let splits = |cost: Cost, weights: &Weights| {
            [cost.run, cost.making, cost.overhead]
                .map(|amount| (amount != 0).then(|| ServedSplit::new(amount, weights)))
        };
        let mut common = Cost::default();
        for (version, cost) in costs {
            if version.is_none() || !shown.contains_key(version) {
                common.run += cost.run;
                common.making += cost.making;
                common.overhead += cost.overhead;
            }
        }
        let mut all = Weights::default();
        shown.values().for_each(|weights| all.merge(weights));
        let of_version = shown.iter().map(|(version, weights)| {
            let own = costs.get(version).filter(|_| version.is_some());
            let own = own.copied().unwrap_or_default();
            (version.clone(), splits(own, weights))
        });
        Parts {
            of_version: of_version.collect(),
            common: splits(common, &all),
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut ServedSplit> {
        let own = self.of_version.values_mut();
        own.chain([&mut self.common]).flatten().flatten()
    }

    fn is_settled(&mut self) -> bool {
        self.all().all(|split| split.is_settled())
    }

    fn end_pass(&mut self) {
        self.all().for_each(ServedSplit::end_pass);
    }

    /// Gives each row's time to `take`, with the splits of its version and those of all.
    fn each(
        &mut self,
        rows: &RecordBatch,
        mut take: impl FnMut(u64, [&mut Splits; 2]),
    ) -> Result<()> {
        let versions = texts(rows, "model_version")?;
        let mut none: Splits = Default::default();
        let mut own = None;
        let mut of: Option<Option<&str>> = None;
        for (row, compute_ns) in times(rows)?.into_iter().enumerate() {
            let version = valid(&versions, row);
            if of != Some(version) {
                of = Some(version);
                own = self.of_version.get_mut(&version.map(str::to_string));
            }
            let own = own.as_deref_mut().unwrap_or(&mut none);
            take(compute_ns, [own, &mut self.common]);
        }
        Ok(())
    }

    fn see(&mut self, rows: &RecordBatch) -> Result<()> {
        self.each(rows, |compute_ns, splits| {
            for split in splits.into_iter().flatten().flatten() {
                split.see(compute_ns);
            }
        })
    }

    /// The rows of the table, of the next rows served.
    fn of(&mut self, rows: &RecordBatch, currency: &str) -> Result<RecordBatch> {
        let n = rows.num_rows();
        let mut parts = [(); 3].map(|()| Vec::with_capacity(n));
        self.each(rows, |compute_ns, [own, common]| {
            for ((part, own), common) in parts.iter_mut().zip(own).zip(common) {
                let of = |split: &mut Option<ServedSplit>| match split {
                    Some(split) => split.part(compute_ns),
                    None => 0,
                };
                part.push(of(own) + of(common));
            }
        })?;
        let [run, making, overhead] = parts;
        let full = run.iter().zip(&making).zip(&overhead);
        let full = full.map(|((run, making), overhead)| run + making + overhead);
        let full: Vec<i128> = full.collect();
        let money = |values: Vec<i128>| -> ArrayRef {
            Arc::new(Decimal128Array::from(values).with_data_type(Type::Money.arrow()))
        };
        let own = |name: &str| Ok::<_, Error>(Arc::clone(column(rows, name)?));
        let currencies: StringViewArray = (0..n).map(|_| Some(currency)).collect();
        Ok(RecordBatch::try_from_iter_with_nullable([
            ("request_id", own("request_id")?, false),
            ("rank", own("rank")?, false),
            ("item_id", own("item_id")?, false),
            ("model_id", own("model_id")?, false),
            ("model_version", own("model_version")?, true),
            ("surface", own("surface")?, true),
            ("currency", Arc::new(currencies) as ArrayRef, false),
            ("compute_ns", own("compute_ns")?, true),
            ("run_cost", money(run), false),
            ("making_cost", money(making), false),
            ("full_cost", money(full), false),
        ])?)
    }
}
