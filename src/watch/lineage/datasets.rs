//! The datasets of a run: its sources, and the tables that it published with their columns, what was written of each, and
//! which columns they are made from.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::facet;
use super::fields::Fields;
use crate::config::Pipeline;
use crate::decoder;
use crate::engine::Library;
use crate::error::{Error, Result};
use crate::pipeline::Stage;
use crate::warehouse::{Column, TABLES, Table};

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
    let made = Fields::of(pipeline, library, date, Some(snapshot)).await?;
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
        let facets = json!({
            "schema": facet("1-1-1/SchemaDatasetFacet", json!({"fields": fields.collect::<Value>()})),
            "columnLineage": facet("1-2-0/ColumnLineageDatasetFacet", json!({"fields": lineage(&made, table)})),
        });
        outputs.push(json!({
            "namespace": namespace, "name": name, "facets": facets,
            "outputFacets": {"outputStatistics": facet("1-0-2/OutputStatisticsOutputDatasetFacet", json!({"rowCount": written.rows, "size": written.bytes, "fileCount": written.files}),
            )},
        }));
    }
    Ok(Value::Array(outputs))
}

/// Of the datasets that a run published, the inputs and outputs of a stage, or of the whole run.
pub fn of_stage(outputs: &Value, stage: Option<&str>) -> (Value, Value) {
    let stage = stage.map(|name| Stage::ALL.into_iter().find(|stage| stage.name() == name));
    let tables = stage.map(|stage| stage.map_or(&[][..], Stage::tables));
    let name = |dataset: &Value| dataset["name"].as_str().unwrap_or_default().to_string();
    let made = |output: &&Value| {
        let path = name(output);
        let table = path.rsplit('/').next().unwrap_or_default();
        tables.is_none_or(|tables| tables.contains(&table))
    };
    let outputs = outputs.as_array().map(Vec::as_slice).unwrap_or_default();
    let made: Vec<&Value> = outputs.iter().filter(made).collect();
    let own: BTreeSet<String> = made.iter().map(|output| name(output)).collect();
    let mut read = BTreeSet::new();
    for output in &made {
        let fields = output["facets"]["columnLineage"]["fields"].as_object();
        let from = fields.into_iter().flat_map(|fields| fields.values());
        for input in from.flat_map(|field| field["inputFields"].as_array().into_iter().flatten()) {
            let namespace = input["namespace"].as_str().unwrap_or_default();
            read.insert((namespace.to_string(), name(input)));
        }
    }
    let read = read.into_iter().filter(|(_, name)| !own.contains(name));
    let inputs = read.map(|(namespace, name)| json!({"namespace": namespace, "name": name}));
    (inputs.collect(), json!(made))
}

/// The fields of the facet of column lineage of a table.
fn lineage(fields: &Fields<'_>, table: &Table) -> Value {
    let of = |column: &Column| {
        let (from, beside) = fields.of_column(table.name, column.name);
        let from: Vec<Value> = from
            .into_iter()
            .map(|(namespace, name, field)| json!({"namespace": namespace, "name": name, "field": field}))
            .collect();
        let mut says = json!({"inputFields": from});
        match (from.is_empty(), beside) {
            (true, None) => return None,
            (true, Some(beside)) => says["transformationDescription"] = beside.into(),
            _ => {}
        }
        Some((column.name.to_string(), says))
    };
    Value::Object(table.columns.iter().filter_map(of).collect())
}

/// A published table, by where readers find it.
pub(super) fn dataset(pipeline: &Pipeline, table: &str) -> (String, String) {
    place(&pipeline.warehouse.join("current").join(table))
}

/// Namespace and name of a path, by the naming of OpenLineage: <https://openlineage.io/docs/spec/naming>.
pub(super) fn place(path: &Path) -> (String, String) {
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
            all.files += 1;
            all.bytes += about.len();
            all.rows += decoder::open(&path)?.metadata().file_metadata().num_rows();
        }
        Ok(all)
    }
}
