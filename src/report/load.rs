//! Fills the report from the published tables, by the files of `sql/reports/`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use futures::StreamExt;

use super::data::{
    Converted, CurrencyData, Line, ModelVerdict, QualityMetric, QualityPair, ReportData,
};
use super::movers::Movers;
use super::rows::{
    bridge, conformance, converted, cost, day, frontier, group, machine, month, part, rate,
    reconciliation, resource, restatement, service, source, stage, unit, version,
};
use super::{no_costs, side_by_side};
use crate::attribution::compare::compare;
use crate::config::Pipeline;
use crate::engine::rows::{Row, map};
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::evaluate::stage::BASELINE;
use crate::money::Currency;
use crate::pipeline::close::days_of;
use crate::pipeline::runs::{self, Run};
use crate::warehouse::{Warehouse, store, table};

/// Reads the report on all billing periods, or on one.
///
/// # Errors
/// `Kind::Config` when nothing was published yet or the period is not there; those of SQL.
pub async fn load(
    pipeline: &Pipeline,
    library: &Library,
    date: NaiveDate,
    period: Option<&str>,
) -> Result<ReportData> {
    let warehouse = Warehouse::new(&pipeline.warehouse);
    let snapshot = warehouse.published()?;
    let options = Options::of(pipeline, date);
    let engine = Engine::open(&options, Some(&snapshot), Some(&warehouse.runs()))?;
    let allocations =
        table("allocations").ok_or_else(|| Error::unexpected("no table allocations"))?;
    let there = store::partitions(&snapshot, allocations)?;
    let mut days = (None, None);
    if let Some(period) = period {
        let (first, last) = days_of(period)?;
        days = (Some(first), Some(last));
        // A month without charges of its own may still have restatements booked in it.
        let reconciled =
            table("reconciliation").ok_or_else(|| Error::unexpected("no table reconciliation"))?;
        let published = store::partitions(&snapshot, reconciled)?;
        if !published.iter().any(|p| p == period) {
            return Err(no_costs(Some(period), &published));
        }
        for name in [
            "charges",
            "allocations",
            "allocation_days",
            "model_costs",
            "reconciliation",
            "converted_costs",
        ] {
            engine
                .restrict(name, &format!("billing_period = '{period}'"))
                .await?;
        }
        engine
            .restrict(
                "unit_costs",
                &format!("ds between date '{first}' and date '{last}'"),
            )
            .await?;
        // What versions cost to make is carried on from earlier periods.
        for (name, day) in [("version_ledger", "day"), ("served_days", "ds")] {
            engine
                .restrict(name, &format!("{day} <= date '{last}'"))
                .await?;
        }
    }
    let compared = compared(&there, period);
    let mut pair = None;
    if let Some((before, newest)) = &compared {
        let engine = Engine::open(&options, Some(&snapshot), None)?;
        for name in ["charges", "allocations"] {
            let periods = format!("billing_period in ('{before}', '{newest}')");
            engine.restrict(name, &periods).await?;
        }
        pair = Some(engine);
    }
    let loader = Loader {
        engine,
        pair,
        library,
        period,
    };
    let mut data = loader.load(pipeline, date).await?;
    data.compared = compared;
    let newest = runs::newest(&loader.engine, &warehouse, 100).await?;
    // A search has no tables that would be missing.
    let last = newest.into_iter().find(|run| run.kind != "tune");
    data.lost = last
        .filter(Run::is_lost)
        .map(|run| (run.of.clone(), run.how()));
    for pair in side_by_side::pairs(&data.currencies) {
        let found = compare((&options, &snapshot), library, pair, days).await?;
        data.comparisons.push(found);
    }
    Ok(data)
}

/// The newest billing period of the report and the one before it, where there are two.
fn compared(there: &[String], period: Option<&str>) -> Option<(String, String)> {
    let mut there: Vec<&String> = there.iter().collect();
    there.sort();
    let newest = there
        .iter()
        .rposition(|known| period.is_none_or(|period| known.as_str() == period))?;
    let before = there.get(newest.checked_sub(1)?)?;
    Some(((*before).clone(), there[newest].clone()))
}

struct Loader<'a> {
    engine: Engine,
    /// Over the two billing periods to compare.
    pair: Option<Engine>,
    library: &'a Library,
    /// The only billing period of the report.
    period: Option<&'a str>,
}

impl Loader<'_> {
    async fn rows<T>(&self, file: &str, make: impl Fn(&Row<'_>) -> Result<T>) -> Result<Vec<T>> {
        let path = format!("reports/{file}.sql");
        let place = || self.library.describe(&path);
        let batches = self
            .engine
            .collect(self.library.get(&path)?)
            .await
            .map_err(|e| e.context(place()))?;
        map(&batches, make).map_err(|e| e.context(place()))
    }

    async fn load(&self, pipeline: &Pipeline, date: NaiveDate) -> Result<ReportData> {
        let (currencies, without_currency) = self.currencies().await?;
        let days: BTreeSet<NaiveDate> = currencies
            .iter()
            .flat_map(|c| c.daily.iter().map(|d| d.day))
            .collect();
        let quality = self
            .rows("quality", |row| {
                let model_id = row.needed("model_id")?;
                Ok((
                    row.needed("family")?,
                    QualityMetric {
                        is_baseline: model_id == BASELINE,
                        model_id,
                        model_version: row.needed("model_version")?,
                        metric: row.needed("metric")?,
                        k: u32::try_from(row.count("k")?).unwrap_or(u32::MAX),
                        value: row.float("value")?.unwrap_or(0.0),
                        low: row.float("low")?,
                        high: row.float("high")?,
                        users: row.count("users")?,
                        protocol: row.needed("protocol")?,
                    },
                ))
            })
            .await?;
        let models = verdicts(&quality);
        let run = self
            .engine
            .collect(
                "select max(run_id) as run_id from runs where stage = 'run' and status = 'done'",
            )
            .await?;
        let run_id = map(&run, |row| row.text("run_id"))?
            .into_iter()
            .flatten()
            .next();
        Ok(ReportData {
            name: pipeline.name.clone(),
            run_id: run_id.unwrap_or_default(),
            period: self.period.map(str::to_owned),
            date,
            first_day: days.first().copied().unwrap_or(date),
            last_day: days.last().copied().unwrap_or(date),
            version: format!("recost {}", env!("CARGO_PKG_VERSION")),
            generated_at: None,
            currencies,
            models,
            quality: quality.into_iter().map(|(_, q)| q).collect(),
            frontier: self.rows("frontier", frontier).await?,
            pairs: self.rows("pairs", pair).await?,
            sources: self.rows("sources", source).await?,
            quarantine: self.rows("quarantine", group).await?,
            without_currency,
            lost: None,
            stages: self.rows("stages", stage).await?,
            closed: self
                .rows("closes", |row| {
                    Ok((
                        row.needed("billing_period")?,
                        row.day("closed_on")?.unwrap_or_default(),
                    ))
                })
                .await?,
            compared: None,
            comparisons: vec![],
            conformance: self.rows("conformance", conformance).await?,
            converted: self.converted().await?,
        })
    }

    /// All currencies in one. Closed periods keep what they had, so there may be several reporting currencies, never added.
    async fn converted(&self) -> Result<Vec<Converted>> {
        let mut found: BTreeMap<String, Converted> = BTreeMap::new();
        for (code, line) in self.rows("converted", converted).await? {
            let currency = Currency::parse(&code).map_err(|e| Error::check(e.to_string()))?;
            let of = found.entry(code).or_insert_with(|| Converted {
                currency,
                lines: vec![],
                rates: vec![],
            });
            of.lines.push(line);
        }
        for (code, rate) in self.rows("rates", rate).await? {
            if let Some(of) = found.get_mut(&code) {
                of.rates.push(rate);
            }
        }
        Ok(found.into_values().collect())
    }

    /// The movers of each currency. The rows are as many as the bills have resources, so they are streamed.
    async fn movers(&self, found: &mut BTreeMap<String, CurrencyData>) -> Result<()> {
        let Some(engine) = &self.pair else {
            return Ok(());
        };
        let sums = engine
            .or_spilling(async |engine| self.movers_of(engine).await)
            .await?;
        for (currency, movers) in sums {
            // A currency that only the bills of before have is no section of this report.
            if let Some(section) = found.get_mut(&currency) {
                section.movers = movers.done()?;
            }
        }
        Ok(())
    }

    /// What became dearer or cheaper, by currency.
    async fn movers_of(&self, engine: &Engine) -> Result<BTreeMap<String, Movers>> {
        let path = "reports/movers.sql";
        let place = || self.library.describe(path);
        let mut sums: BTreeMap<String, Movers> = BTreeMap::new();
        let mut stream = engine
            .stream(self.library.get(path)?)
            .await
            .map_err(|e| e.context(place()))?;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|e| Error::from(e).context(place()))?;
            for (currency, part) in map(&[batch], |row| Ok((row.needed("currency")?, part(row)?)))
                .map_err(|e| e.context(place()))?
            {
                sums.entry(currency).or_default().add(part)?;
            }
        }
        Ok(sums)
    }

    /// The data of each currency, and the rejected charges that name none that can be read.
    async fn currencies(&self) -> Result<(Vec<CurrencyData>, u64)> {
        let mut found: BTreeMap<String, CurrencyData> = BTreeMap::new();
        let mut without = 0;
        for (currency, line) in self
            .rows("reconciliation", |row| {
                Ok((row.needed("currency")?, reconciliation(row)?))
            })
            .await?
        {
            if line.line == Line::Quarantined && Currency::parse(&currency).is_err() {
                without += line.rows;
            } else {
                entry(&mut found, currency)?.reconciliation.push(line);
            }
        }
        macro_rules! gather {
            ($file:literal, $field:ident, $make:expr) => {
                for (currency, row) in self
                    .rows($file, |row| Ok((row.needed("currency")?, $make(row)?)))
                    .await?
                {
                    // What was shown before the first bill has no cost as yet.
                    if currency != Currency::NONE {
                        entry(&mut found, currency)?.$field.push(row);
                    }
                }
            };
        }
        gather!("costs", costs, cost);
        gather!("days", daily, day);
        gather!("units", units, unit);
        gather!("resources", resources, resource);
        gather!("services", services, service);
        gather!("bridge", bridge, bridge);
        gather!("machines", machines, machine);
        gather!("restatements", restatements, restatement);
        for section in found.values_mut() {
            section.restatements.retain(|restated| {
                self.period
                    .is_none_or(|period| restated.period == period || restated.booked == period)
            });
        }
        // A currency that only earlier periods have is no section of this report.
        for (currency, row) in self
            .rows("versions", |row| {
                Ok((row.needed("currency")?, version(row)?))
            })
            .await?
        {
            if let Some(section) = found.get_mut(&currency) {
                section.versions.push(row);
            }
        }
        for (currency, row) in self
            .rows("roll_forward", |row| {
                Ok((row.needed("currency")?, month(row)?))
            })
            .await?
        {
            if let Some(section) = found.get_mut(&currency) {
                section.roll_forward.push(row);
            }
        }
        self.movers(&mut found).await?;
        Ok((found.into_values().collect(), without))
    }
}

/// The data of one currency.
fn entry(found: &mut BTreeMap<String, CurrencyData>, code: String) -> Result<&mut CurrencyData> {
    let currency = Currency::parse(&code).map_err(|e| Error::check(e.to_string()))?;
    Ok(found.entry(code).or_insert_with(|| CurrencyData {
        currency,
        costs: vec![],
        daily: vec![],
        units: vec![],
        reconciliation: vec![],
        resources: vec![],
        services: vec![],
        bridge: vec![],
        machines: vec![],
        restatements: vec![],
        versions: vec![],
        roll_forward: vec![],
        movers: vec![],
    }))
}

fn pair(row: &Row<'_>) -> Result<QualityPair> {
    Ok(QualityPair {
        model_id: row.needed("model_id")?,
        other_id: row.needed("other_id")?,
        metric: row.needed("metric")?,
        k: u32::try_from(row.count("k")?).unwrap_or(u32::MAX),
        difference: row.float("difference")?.unwrap_or(0.0),
        low: row.float("low")?.unwrap_or(0.0),
        high: row.float("high")?.unwrap_or(0.0),
        differs: row.int("differs")? == Some(1),
        users: row.count("users")?,
    })
}

/// Whether each model beats popularity by recall at 20, or at the cut-off nearest to it.
fn verdicts(quality: &[(String, QualityMetric)]) -> Vec<ModelVerdict> {
    let recalls = || quality.iter().filter(|(_, q)| q.metric == "recall");
    let k = recalls().map(|(_, q)| q.k).min_by_key(|k| k.abs_diff(20));
    let at_k = || recalls().filter(|(_, q)| Some(q.k) == k);
    let baseline = at_k().find(|(_, q)| q.is_baseline).map(|(_, q)| q.value);
    at_k()
        .filter(|(_, q)| !q.is_baseline)
        .map(|(family, q)| ModelVerdict {
            model_id: q.model_id.clone(),
            model_version: q.model_version.clone(),
            family: family.clone(),
            // Popularity itself has nothing to beat.
            beats_baseline: baseline
                .filter(|_| family != "popular")
                .map(|b| q.value > b),
        })
        .collect()
}
