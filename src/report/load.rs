//! Fills the report from the published tables, by the files of `sql/reports/`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use futures::StreamExt;

use super::data::{
    Basis, BridgeLine, CostLine, CurrencyData, DayCost, Line, Machine, ModelVerdict, QualityMetric,
    QuarantineGroup, ReconciliationLine, ReportData, ResourceCost, Restatement, SourceRows,
    StageRun, Target, UnitCost,
};
use super::movers::{Movers, Part};
use crate::config::Pipeline;
use crate::engine::rows::{Row, map};
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::evaluate::stage::BASELINE;
use crate::money::{Currency, Money, Residue};
use crate::pipeline::close::days_of;
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
    if let Some(period) = period {
        let (first, last) = days_of(period)?;
        if !there.iter().any(|p| p == period) {
            return Err(Error::config(format!(
                "nothing is published for the billing period {period}"
            ))
            .help(format!("there are: {}", there.join(", "))));
        }
        for name in ["charges", "allocations", "model_costs", "reconciliation"] {
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
            date,
            first_day: days.first().copied().unwrap_or(date),
            last_day: days.last().copied().unwrap_or(date),
            version: format!("recost {}", env!("CARGO_PKG_VERSION")),
            generated_at: None,
            currencies,
            models,
            quality: quality.into_iter().map(|(_, q)| q).collect(),
            sources: self.rows("sources", source).await?,
            quarantine: self.rows("quarantine", group).await?,
            without_currency,
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
        })
    }

    /// The movers of each currency. The rows are as many as the bills have resources, so they are streamed.
    async fn movers(&self, found: &mut BTreeMap<String, CurrencyData>) -> Result<()> {
        let Some(engine) = &self.pair else {
            return Ok(());
        };
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
        for (currency, movers) in sums {
            // A currency that only the bills of before have is no section of this report.
            if let Some(section) = found.get_mut(&currency) {
                section.movers = movers.done()?;
            }
        }
        Ok(())
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
                    entry(&mut found, currency)?.$field.push(row);
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
        movers: vec![],
    }))
}

fn money(row: &Row<'_>, name: &str) -> Result<Option<Money>> {
    Ok(row.decimal(name, 18)?.map(Money))
}

fn amount(row: &Row<'_>, name: &str) -> Result<Money> {
    Ok(money(row, name)?.unwrap_or_default())
}

fn target(row: &Row<'_>) -> Result<Target> {
    Ok(match row.needed("target")?.as_str() {
        "model" => Target::Model(row.needed("model_id")?),
        "idle" => Target::Idle,
        _ => Target::Unallocated,
    })
}

fn cost(row: &Row<'_>) -> Result<CostLine> {
    Ok(CostLine {
        target: target(row)?,
        model_version: row.text("model_version")?,
        stage: row.text("stage")?,
        category: row.needed("category")?,
        reason: row.text("reason")?,
        usage_billed: amount(row, "usage_billed")?,
        usage_effective: amount(row, "usage_effective")?,
        allocation_billed: amount(row, "allocation_billed")?,
        allocation_effective: amount(row, "allocation_effective")?,
    })
}

fn day(row: &Row<'_>) -> Result<DayCost> {
    Ok(DayCost {
        day: row.day("day")?.unwrap_or_default(),
        target: target(row)?,
        usage_effective: amount(row, "usage_effective")?,
        allocation_effective: amount(row, "allocation_effective")?,
    })
}

fn unit(row: &Row<'_>) -> Result<UnitCost> {
    Ok(UnitCost {
        day: row.day("ds")?.unwrap_or_default(),
        model_id: row.needed("model_id")?,
        model_version: row.text("model_version")?,
        surface: row.text("surface")?,
        served: row.count("served")?,
        requests: row.count("requests")?,
        clicks: row.count("clicks")?,
        purchases: row.count("purchases")?,
        revenue: money(row, "revenue")?,
        run_cost: amount(row, "run_cost")?,
        full_cost: amount(row, "full_cost")?,
    })
}

fn resource(row: &Row<'_>) -> Result<ResourceCost> {
    Ok(ResourceCost {
        target: lost(row)?,
        resource_id: row.text("resource_id")?,
        service: row.text("service_name")?,
        account: None,
        resources: 1,
        reason: row.text("reason")?,
        rows: row.count("rows")?,
        billed: amount(row, "billed")?,
        effective: amount(row, "effective")?,
    })
}

fn service(row: &Row<'_>) -> Result<ResourceCost> {
    Ok(ResourceCost {
        target: lost(row)?,
        resource_id: None,
        service: row.text("service_name")?,
        account: row.text("account")?,
        resources: row.count("resources")?,
        reason: row.text("reason")?,
        rows: row.count("rows")?,
        billed: amount(row, "billed")?,
        effective: amount(row, "effective")?,
    })
}

/// Idle or unallocated.
fn lost(row: &Row<'_>) -> Result<Target> {
    Ok(match row.needed("target")?.as_str() {
        "idle" => Target::Idle,
        _ => Target::Unallocated,
    })
}

fn bridge(row: &Row<'_>) -> Result<BridgeLine> {
    Ok(BridgeLine {
        what: row.needed("what")?,
        rows: row.count("rows")?,
        billed: amount(row, "billed")?,
        effective: amount(row, "effective")?,
    })
}

fn machine(row: &Row<'_>) -> Result<Machine> {
    Ok(Machine {
        resource_id: row.text("resource_id")?,
        machines: row.count("machines")?,
        rows: row.count("rows")?,
        used: amount(row, "used")?,
        idle: amount(row, "idle")?,
        unallocated: amount(row, "unallocated")?,
    })
}

fn restatement(row: &Row<'_>) -> Result<Restatement> {
    Ok(Restatement {
        period: row.needed("restated_period")?,
        booked: row.needed("booked_period")?,
        target: target(row)?,
        model_version: row.text("model_version")?,
        stage: row.text("stage")?,
        category: row.needed("category")?,
        before: [
            amount(row, "usage_effective_before")?,
            amount(row, "allocation_effective_before")?,
            amount(row, "usage_billed_before")?,
            amount(row, "allocation_billed_before")?,
        ],
        change: [
            amount(row, "usage_effective")?,
            amount(row, "allocation_effective")?,
            amount(row, "usage_billed")?,
            amount(row, "allocation_billed")?,
        ],
    })
}

fn part(row: &Row<'_>) -> Result<Part> {
    let flag = |name| -> Result<bool> { Ok(row.text(name)?.as_deref() == Some("true")) };
    Ok(Part {
        target: target(row)?,
        stage: row.text("stage")?,
        category: row.needed("category")?,
        before: amount(row, "before")?,
        after: amount(row, "after")?,
        line_before: amount(row, "line_before")?,
        line_after: amount(row, "line_after")?,
        was_there: flag("was_there")?,
        is_there: flag("is_there")?,
    })
}

fn reconciliation(row: &Row<'_>) -> Result<ReconciliationLine> {
    let residue = |name| -> Result<_> { Ok(row.decimal(name, 38)?.map(Residue)) };
    let line = row.needed("line")?;
    Ok(ReconciliationLine {
        period: row.needed("billing_period")?,
        issuer: row.needed("issuer")?,
        basis: match row.needed("basis")?.as_str() {
            "allocation" => Basis::Allocation,
            _ => Basis::Usage,
        },
        line: match line.as_str() {
            "bill" => Line::Bill,
            "attributed" => Line::Attributed,
            "idle" => Line::Idle,
            "unallocated" => Line::Unallocated,
            "difference" => Line::Difference,
            "restated" => Line::Restated,
            "quarantined" => Line::Quarantined,
            "ingest_rounding" => Line::IngestRounding,
            _ => {
                return Err(Error::contract(format!(
                    "reconciliation has a line `{line}` that the report does not know"
                )));
            }
        },
        rows: row.count("rows")?,
        billed: money(row, "billed")?,
        effective: money(row, "effective")?,
        billed_rounding: residue("billed_rounding")?,
        effective_rounding: residue("effective_rounding")?,
    })
}

fn source(row: &Row<'_>) -> Result<SourceRows> {
    Ok(SourceRows {
        source: row.needed("source")?,
        kind: row.needed("kind")?,
        files: row.count("files")?,
        rows_in: row.count("rows_in")?,
        rows_out: row.count("rows_out")?,
        rows_skipped: row.count("rows_skipped")?,
        rows_duplicate: row.count("rows_duplicate")?,
        rows_late: row.count("rows_late")?,
        rows_quarantined: row.count("rows_quarantined")?,
    })
}

fn group(row: &Row<'_>) -> Result<QuarantineGroup> {
    Ok(QuarantineGroup {
        source: row.needed("source")?,
        column: row.needed("column")?,
        reason: row.needed("reason")?,
        rows: row.count("rows")?,
        example: row.needed("example")?,
    })
}

fn stage(row: &Row<'_>) -> Result<StageRun> {
    Ok(StageRun {
        stage: row.needed("stage")?,
        status: row.needed("status")?,
        seconds: row.float("seconds")?,
        rows: row.int("rows")?.map(i64::unsigned_abs),
        peak_rss_bytes: row.int("peak_rss_bytes")?.map(i64::unsigned_abs),
        device: row.text("device")?,
        message: row.text("message")?,
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
