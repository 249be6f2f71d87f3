//! What each column of the published tables is made from: read off the plans of the SQL files and of the exports' dialects,
//! and for what the program works out itself, as [`origins`](crate::warehouse::origins) declares it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chrono::NaiveDate;
use datafusion::logical_expr::LogicalPlan;

use super::columns::{Origin, Origins, columns};
use super::datasets::{dataset, place};
use crate::attribution::stage::routing;
use crate::config::Pipeline;
use crate::engine::rows::map;
use crate::engine::{Engine, Library, Options};
use crate::error::Result;
use crate::ingest;
use crate::warehouse::origins::{Origin as Declared, origin};
use crate::warehouse::table;

/// Folders of SQL whose files are named after the tables that they make, or are steps that others read.
const FOLDERS: [&str; 2] = ["features", "attribution"];
/// Folders of files of one kind, which together are one step.
const KINDS: [&str; 2] = ["attribution/drivers", "content"];
/// What stages have at hand when they run some of these files, as queries with the same columns.
const AT_HAND: [(&str, &str); 3] = [
    ("largest", "select *, 1 as place from allocations"),
    (
        "policy",
        "select 'USD' as reporting_currency, cast(as_of() as date) as closing_day, 0 as oldest_days",
    ),
    ("restated_periods", "select billing_period from closes"),
];
/// Said of a column that could be delivered and is not.
const NOT_GIVEN: &str = "no export gives it";

/// A column of a dataset: namespace, name, field.
pub type Field = (String, String, String);

/// The origins of the columns of something that a query makes.
type Planned = BTreeMap<String, Origins>;

/// What the columns of tables are made from.
pub struct Fields<'a> {
    pipeline: &'a Pipeline,
    /// Of tables, and of SQL files that are steps to others.
    planned: BTreeMap<String, Planned>,
    /// Columns of tables that exports feed.
    delivered: BTreeMap<&'static str, BTreeMap<String, BTreeSet<Field>>>,
    /// Columns that the rules of the pipeline look at.
    ruled: Origins,
}

impl<'a> Fields<'a> {
    /// Of the tables that a pipeline makes; `snapshot` says what its exports are like.
    ///
    /// # Errors
    /// Those of the rules, of reading `deliveries`, and of SQL files that read each other in a circle.
    pub async fn of(
        pipeline: &'a Pipeline,
        library: &Library,
        date: NaiveDate,
        snapshot: Option<&Path>,
    ) -> Result<Self> {
        let options = Options::of(pipeline, date);
        let matched = routing(pipeline, library)?;
        let matched = matched.matched().into_iter();
        Ok(Fields {
            pipeline,
            planned: planned(&Engine::open(&options, None, None)?, library).await?,
            delivered: match snapshot {
                Some(_) => {
                    delivered(pipeline, library, &Engine::open(&options, snapshot, None)?).await?
                }
                None => BTreeMap::new(),
            },
            ruled: matched.map(of_charges).collect(),
        })
    }

    /// The columns that a column of a table is made from; where there are none, from what else, in words.
    pub fn of_column(&self, name: &str, column: &str) -> (BTreeSet<Field>, Option<&'static str>) {
        let delivered = self
            .delivered
            .get(name)
            .and_then(|columns| columns.get(column));
        if let Some(fields) = delivered.filter(|fields| !fields.is_empty()) {
            return (fields.clone(), None);
        }
        let read = self
            .planned
            .get(name)
            .and_then(|columns| columns.get(column));
        let found = read
            .cloned()
            .map(|found| self.followed(found))
            .unwrap_or_default();
        if !found.is_empty() {
            return (self.fields(found), None);
        }
        match origin(name, column) {
            Some(Declared::Beside(what)) => (BTreeSet::new(), Some(what)),
            Some(declared) => {
                let mut found = self.followed(stated(declared, column));
                if matches!(declared, Declared::Ruled(_)) {
                    found.extend(self.ruled.iter().cloned());
                }
                let nothing = found.is_empty().then_some("the rules of the pipeline");
                (self.fields(found), nothing)
            }
            None => {
                let fed = self
                    .pipeline
                    .sources
                    .iter()
                    .any(|s| feeds(s.kind.table()).contains(&name));
                (BTreeSet::new(), fed.then_some(NOT_GIVEN))
            }
        }
    }

    /// Tables in the place of steps.
    fn followed(&self, origins: Origins) -> Origins {
        let mut all = Origins::new();
        for (name, column) in origins {
            match self.planned.get(&name) {
                Some(step) if table(&name).is_none() => {
                    all.extend(self.followed(step.get(&column).cloned().unwrap_or_default()));
                }
                _ => {
                    all.insert((name, column));
                }
            }
        }
        all
    }

    fn fields(&self, origins: Origins) -> BTreeSet<Field> {
        let known = origins
            .into_iter()
            .filter(|(name, _)| table(name).is_some());
        known
            .map(|(name, column)| {
                let (namespace, name) = dataset(self.pipeline, &name);
                (namespace, name, column)
            })
            .collect()
    }
}

/// What is declared of a column, as columns of tables and steps.
fn stated(declared: Declared, column: &str) -> Origins {
    match declared {
        Declared::Copied(from) => Origins::from([(from.into(), column.into())]),
        Declared::From(all) | Declared::Ruled(all) => all
            .iter()
            .filter_map(|of| of.split_once('.'))
            .map(|(name, column)| (name.to_string(), column.to_string()))
            .collect(),
        Declared::Beside(_) => Origins::new(),
    }
}

/// The tables that an export of the kind that feeds `name` fills.
fn feeds(name: &'static str) -> &'static [&'static str] {
    match name {
        "charges" => &["charges", "late_charges"],
        "events" => &["events"],
        "items" => &["items"],
        "users" => &["users"],
        "usage" => &["usage"],
        "exchange_rates" => &["exchange_rates"],
        "invoices" => &["invoices"],
        "commitments" => &["commitments"],
        _ => &[],
    }
}

/// The column of `charges` that a rule looks at; of a tag it is the tags.
fn of_charges(looked_at: &str) -> Origin {
    let column = looked_at.split('.').next().unwrap_or(looked_at);
    ("charges".into(), column.into())
}

fn by_name(plan: &LogicalPlan) -> Planned {
    let names = plan.schema().fields().iter().map(|f| f.name().clone());
    names.zip(columns(plan)).collect()
}

/// The columns of the SQL files, planned over empty tables.
async fn planned(engine: &Engine, library: &Library) -> Result<BTreeMap<String, Planned>> {
    for (name, sql) in AT_HAND {
        engine.view(name, sql).await?;
    }
    let mut found = BTreeMap::new();
    for folder in FOLDERS {
        for (name, sql) in library.ordered(engine, folder)? {
            // A project's own file may read what is not known here; then what it makes has no lineage.
            if let Ok(frame) = engine.query(sql).await {
                found.insert(name.to_string(), by_name(frame.logical_plan()));
            }
            if table(name).is_none() {
                drop(engine.view(name, sql).await);
            }
        }
    }
    for folder in KINDS {
        let mut together = Planned::new();
        for (_, sql) in library.folder(folder) {
            let Ok(frame) = engine.query(sql).await else {
                continue;
            };
            for (column, origins) in by_name(frame.logical_plan()) {
                together.entry(column).or_default().extend(origins);
            }
        }
        let name = folder.rsplit('/').next().unwrap_or(folder);
        found.insert(name.to_string(), together);
    }
    if let Some(sql) = ingest::judged(engine, library).await? {
        let frame = engine.query(&sql).await?;
        found.insert("conformance".into(), by_name(frame.logical_plan()));
    }
    Ok(found)
}

/// The columns of the exports that the columns of raw tables are made from, by the newest delivery of each source.
async fn delivered(
    pipeline: &Pipeline,
    library: &Library,
    engine: &Engine,
) -> Result<BTreeMap<&'static str, BTreeMap<String, BTreeSet<Field>>>> {
    let sql = "select source, array_to_string(columns, chr(10)) as named from deliveries
               where columns is not null order by \"interval\"";
    let rows = map(&engine.collect(sql).await?, |row| {
        Ok((
            row.needed("source")?,
            row.text("named")?.unwrap_or_default(),
        ))
    })?;
    let newest: BTreeMap<String, String> = rows.into_iter().collect();
    let mut found: BTreeMap<&str, BTreeMap<String, BTreeSet<Field>>> = BTreeMap::new();
    for source in &pipeline.sources {
        let Some(named) = newest.get(&source.name) else {
            continue;
        };
        let named: Vec<String> = named.lines().map(str::to_string).collect();
        let plan = match ingest::mapped(engine, library, source, &named).await {
            Ok(plan) => plan,
            Err(e) => {
                tracing::debug!(source = source.name, error = %e, "an export has no lineage");
                continue;
            }
        };
        let (namespace, name) = place(Path::new(&source.path));
        for (column, origins) in by_name(&plan) {
            let own = |(_, field): &Origin| {
                named
                    .iter()
                    .any(|n| n.rsplit_once(' ').is_some_and(|(n, _)| n == field))
            };
            let fields = origins.into_iter().filter(own);
            let fields: BTreeSet<Field> = fields
                .map(|(_, field)| (namespace.clone(), name.clone(), field))
                .collect();
            for table in feeds(source.kind.table()) {
                let of = found.entry(table).or_default();
                of.entry(column.clone())
                    .or_default()
                    .extend(fields.iter().cloned());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::warehouse::TABLES;
    use crate::warehouse::origins::ORIGINS;

    async fn made<T>(work: impl AsyncFnOnce(&Fields<'_>) -> T) -> T {
        let text = include_str!("../../../pipelines/nightly.toml");
        let mut pipeline = Pipeline::parse(text, Path::new("/shop/pipeline.toml")).unwrap();
        // One of each kind.
        let one = pipeline.sources[0].clone();
        for kind in [
            crate::config::SourceKind::ExchangeRates,
            crate::config::SourceKind::Invoices,
            crate::config::SourceKind::Commitments,
        ] {
            pipeline.sources.push(crate::config::Source {
                kind,
                ..one.clone()
            });
        }
        let library = Library::load(Path::new("/nowhere")).unwrap();
        let date = "2026-10-31".parse().unwrap();
        work(&Fields::of(&pipeline, &library, date, None).await.unwrap()).await
    }

    #[tokio::test]
    async fn every_column_of_every_table_has_an_origin_or_says_why_not() {
        made(async |fields| {
            let mut lacking = vec![];
            // The table of runs lies outside of what is published, and is the program's own account.
            for table in TABLES.iter().filter(|t| t.name != "runs") {
                for column in table.columns {
                    let name = format!("{}.{}", table.name, column.name);
                    let (from, beside) = fields.of_column(table.name, column.name);
                    if from.is_empty() == beside.is_none() {
                        lacking.push(name.clone());
                    }
                    for (_, dataset, field) in from {
                        let of = dataset.rsplit('/').next().unwrap();
                        let of = crate::warehouse::table(of).unwrap();
                        if of.schema().column_with_name(&field).is_none() {
                            lacking.push(format!("{}.{field} of {name}", of.name));
                        }
                    }
                }
            }
            assert_eq!(lacking, Vec::<String>::new());
        })
        .await;
    }

    #[tokio::test]
    async fn what_is_declared_names_columns_that_there_are_and_nothing_that_a_plan_says() {
        made(async |fields| {
            for (name, columns) in ORIGINS {
                for (columns, declared) in *columns {
                    for column in *columns {
                        for (of, from) in stated(*declared, column) {
                            let known = match crate::warehouse::table(&of) {
                                Some(table) => {
                                    *column == "*"
                                        || table.schema().column_with_name(&from).is_some()
                                }
                                None => fields
                                    .planned
                                    .get(&of)
                                    .is_some_and(|p| p.contains_key(&from)),
                            };
                            assert!(
                                known,
                                "{name}.{column} is declared to be made from {of}.{from}"
                            );
                        }
                        let read = fields.planned.get(*name).and_then(|p| p.get(*column));
                        let read = read.cloned().map(|found| fields.followed(found));
                        assert!(
                            read.is_none_or(|from| from.is_empty()),
                            "{name}.{column} is declared, and its plan says where it comes from"
                        );
                    }
                }
            }
        })
        .await;
    }

    #[tokio::test]
    async fn declared_origins_are_followed_through_the_files_that_the_work_reads() {
        made(async |fields| {
            let from = |table: &str, column: &str| -> Vec<String> {
                let (from, _) = fields.of_column(table, column);
                from.into_iter()
                    .map(|(_, name, field)| format!("{}.{field}", name.rsplit('/').next().unwrap()))
                    .collect()
            };
            assert_eq!(
                from("outcomes", "margin"),
                [
                    "events.event_type",
                    "events.price",
                    "events.quantity",
                    "items.unit_cost"
                ]
            );
            assert_eq!(from("outcomes", "rank"), ["events.rank"]);
            assert_eq!(
                from("allocations", "issuer"),
                [
                    "charges.invoice_issuer_name",
                    "charges.provider_name",
                    "charges.source"
                ]
            );
            assert_eq!(
                from("recommendation_costs", "making_cost"),
                ["events.compute_ns", "version_ledger.recognised"]
            );
            assert_eq!(from("superseded_charges", "tags"), ["charges.tags"]);
            assert!(from("largest_allocations", "billed").contains(&"allocations.billed".into()));
            assert!(from("converted_costs", "rate").contains(&"exchange_rates.rate".into()));
            assert!(from("user_factors", "factors").contains(&"users.age_band".into()));
            assert!(from("allocations", "billed").contains(&"usage.gpu_ns".into()));
        })
        .await;
    }
}
