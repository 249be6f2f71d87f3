//! The datasets of a run: its sources, and the tables that it published with their columns, what was written of each, and
//! which columns they are made from.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::SystemTime;

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};

use super::columns::columns;
use super::facet;
use crate::config::Pipeline;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};
use crate::warehouse::{TABLES, Table, table};

/// Folders of SQL whose files are named after the tables that they make.
const FOLDERS: [&str; 2] = ["features", "attribution"];

/// The sources, by the paths of the pipeline file.
pub(super) fn inputs(pipeline: &Pipeline) -> Value {
    let inputs = pipeline.sources.iter().map(|source| {
        let (namespace, name) = place(Path::new(&source.path));
        json!({"namespace": namespace, "name": name, "facets": {
            "symlinks": facet("1-0-1/SymlinksDatasetFacet", json!({
                "identifiers": [{"namespace": "recost", "name": source.name, "type": "TABLE"}],
            })),
        }})
    });
    inputs.collect()
}

/// The tables of a snapshot, with what was written since `since`.
///
/// # Errors
/// Those of reading files and of planning the features.
pub async fn outputs(
    pipeline: &Pipeline,
    library: &Library,
    date: chrono::NaiveDate,
    snapshot: &Path,
    since: SystemTime,
) -> Result<Value> {
    let lineage = column_lineage(pipeline, library, date, snapshot).await?;
    let mut outputs = vec![];
    for table in TABLES {
        let written = Written::of(&snapshot.join(table.name), since)?;
        if written.files == 0 {
            continue;
        }
        let (namespace, name) = dataset(pipeline, table.name);
        let schema = table.schema();
        let fields = schema.fields().iter().map(|field| {
            let column = table.columns.iter().find(|c| c.name == field.name());
            let (kind, doc) = (field.data_type().to_string(), column.map(|c| c.doc));
            json!({"name": field.name(), "type": kind, "description": doc})
        });
        let mut facets = json!({
            "schema": facet("1-1-1/SchemaDatasetFacet", json!({"fields": fields.collect::<Value>()})),
        });
        if let Some(fields) = lineage.get(table.name) {
            facets["columnLineage"] =
                facet("1-2-0/ColumnLineageDatasetFacet", json!({"fields": fields}));
        }
        outputs.push(json!({
            "namespace": namespace, "name": name, "facets": facets,
            "outputFacets": {"outputStatistics": facet("1-0-2/OutputStatisticsOutputDatasetFacet", json!({"rowCount": written.rows, "size": written.bytes, "fileCount": written.files}),
            )},
        }));
    }
    Ok(Value::Array(outputs))
}

/// The fields of the facet of each table that a SQL file makes.
async fn column_lineage(
    pipeline: &Pipeline,
    library: &Library,
    date: chrono::NaiveDate,
    snapshot: &Path,
) -> Result<BTreeMap<&'static str, Value>> {
    let engine = Engine::open(&Options::of(pipeline, date), Some(snapshot), None)?;
    let mut found = BTreeMap::new();
    for folder in FOLDERS {
        // Files that make no table are steps that others read. Some of those read what only the stage itself has at hand:
        // these are not planned, and neither is what reads them.
        for (name, sql) in library.ordered(&engine, folder)? {
            let Some(table) = table(name) else {
                drop(engine.view(name, sql).await);
                continue;
            };
            let Ok(frame) = engine.query(sql).await else {
                continue;
            };
            let plan = frame.logical_plan();
            let mut fields = serde_json::Map::new();
            for (field, origins) in plan.schema().fields().iter().zip(columns(plan)) {
                let known = |(of, _): &&(String, String)| TABLES.iter().any(|t| t.name == of);
                let inputs = origins.iter().filter(known).map(|(of, column)| {
                    let (namespace, name) = dataset(pipeline, of);
                    json!({"namespace": namespace, "name": name, "field": column})
                });
                let inputs: Vec<Value> = inputs.collect();
                let is_column = is_column(table, field.name());
                if is_column && !inputs.is_empty() {
                    fields.insert(field.name().clone(), json!({"inputFields": inputs}));
                }
            }
            if !fields.is_empty() {
                found.insert(table.name, Value::Object(fields));
            }
        }
    }
    Ok(found)
}

fn is_column(table: &Table, name: &str) -> bool {
    table.columns.iter().any(|c| c.name == name)
}

/// A published table, by where readers find it.
fn dataset(pipeline: &Pipeline, table: &str) -> (String, String) {
    place(&pipeline.warehouse.join("current").join(table))
}

/// Namespace and name of a path, by the naming of OpenLineage: <https://openlineage.io/docs/spec/naming>.
fn place(path: &Path) -> (String, String) {
    let path = path.to_string_lossy();
    match path.split_once("://") {
        Some((scheme, rest)) => {
            let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
            (format!("{scheme}://{bucket}"), key.to_string())
        }
        None => ("file".into(), path.into_owned()),
    }
}

/// What a run wrote of a table.
#[derive(Debug, Default)]
struct Written {
    files: u64,
    bytes: u64,
    rows: i64,
}

impl Written {
    fn of(folder: &Path, since: SystemTime) -> Result<Self> {
        let mut all = Written::default();
        if !folder.is_dir() {
            return Ok(all);
        }
        let wrong = |path: &Path| {
            let path = path.to_path_buf();
            move |e: std::io::Error| Error::io("cannot read", &path, &e)
        };
        for entry in std::fs::read_dir(folder).map_err(wrong(folder))? {
            let path = entry.map_err(wrong(folder))?.path();
            if path.is_dir() {
                let below = Self::of(&path, since)?;
                all.files += below.files;
                all.bytes += below.bytes;
                all.rows += below.rows;
                continue;
            }
            let about = path.metadata().map_err(wrong(&path))?;
            let new = about.modified().map_err(wrong(&path))? >= since;
            if !new || path.extension().is_none_or(|e| e != "parquet") {
                continue;
            }
            let file = File::open(&path).map_err(wrong(&path))?;
            let reader = SerializedFileReader::new(file)?;
            all.files += 1;
            all.bytes += about.len();
            all.rows += reader.metadata().file_metadata().num_rows();
        }
        Ok(all)
    }
}
