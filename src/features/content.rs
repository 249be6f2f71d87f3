//! What is known of items or users without any interaction: a sparse matrix of features, from a file of `sql/content/`.

use std::collections::HashMap;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use chrono::NaiveDate;
use futures::StreamExt;

use super::csr::Csr;
use crate::engine::{Engine, Library, Options};
use crate::error::{Error, Result};

/// What the newest exports say of items and users.
#[derive(Debug, Clone)]
pub struct Contents {
    /// Of items.
    pub items: Content,
    /// Of users.
    pub users: Content,
}

impl Contents {
    /// As of the end of `window`.
    ///
    /// # Errors
    /// As [`Content::read`].
    pub async fn read(
        library: &Library,
        options: &Options,
        snapshot: &Path,
        window: (NaiveDate, NaiveDate),
    ) -> Result<Self> {
        Ok(Self {
            items: Content::newest(library, options, snapshot, window, "items").await?,
            users: Content::newest(library, options, snapshot, window, "users").await?,
        })
    }
}

/// Rows and their features.
#[derive(Debug, Clone)]
pub struct Content {
    /// Id of each row, ascending.
    pub ids: Vec<String>,
    /// Name of each column, such as `brand=Acme`; ascending.
    pub names: Vec<String>,
    /// Weights, `[ids, names]`.
    pub features: Csr,
}

impl Content {
    /// Of `items` or `users`, as of the end of `window`.
    ///
    /// # Errors
    /// As [`Content::read`].
    pub async fn newest(
        library: &Library,
        options: &Options,
        snapshot: &Path,
        window: (NaiveDate, NaiveDate),
        side: &str,
    ) -> Result<Self> {
        let engine = Engine::open(options, Some(snapshot), None)?;
        engine.restrict_to_night(window).await?;
        Self::read(&engine, library, side).await
    }

    /// Reads the rows of the library's file `content/<side>.sql` (id, feature, weight). Rows without an id or a feature say
    /// nothing; several rows of one id and feature add up; what a single id has says nothing of others and is left out.
    ///
    /// # Errors
    /// Those of SQL, and `Kind::Check` for a weight that is no number, naming the row.
    pub async fn read(engine: &Engine, library: &Library, side: &str) -> Result<Self> {
        let path = format!("content/{side}.sql");
        let place = library.describe(&path);
        let sql = library.get(&path)?.trim_end().trim_end_matches(';');
        let sql = format!(
            "select id, feature, weight from ({sql}) where id is not null and feature is not null order by id, feature"
        );
        let mut ids: Vec<String> = vec![];
        let mut columns: HashMap<String, (u32, u32)> = HashMap::new();
        let mut cells: Vec<(u32, u32, f32)> = vec![];
        let mut last = None;
        let mut stream = engine.stream(&sql).await.map_err(|e| e.context(&place))?;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let text = |n: usize| cast(batch.column(n), &DataType::Utf8View);
            let (id, feature) = (text(0)?, text(1)?);
            let (id, feature) = (id.as_string_view(), feature.as_string_view());
            let weight = cast(batch.column(2), &DataType::Float64)?;
            let weight = weight.as_primitive::<Float64Type>();
            for row in 0..batch.num_rows() {
                let (id, feature) = (id.value(row), feature.value(row));
                // An absent weight is no number either.
                let value = if weight.is_null(row) {
                    f64::NAN
                } else {
                    weight.value(row)
                };
                if !value.is_finite() {
                    return Err(Error::check(format!(
                        "{place}: the weight of the feature `{feature}` of `{id}` is not a number"
                    ))
                    .help("leave the row out, or give it a number"));
                }
                if ids.last().is_none_or(|before| before != id) {
                    ids.push(id.to_string());
                    last = None;
                }
                let next = index(columns.len())?;
                let column = columns.entry(feature.to_string()).or_insert((next, 0));
                if last != Some(column.0) {
                    column.1 += 1;
                    last = Some(column.0);
                }
                cells.push((index(ids.len() - 1)?, column.0, value as f32));
            }
        }
        let shared = columns.into_iter().filter(|(_, (_, rows))| *rows > 1);
        let mut names: Vec<(String, u32)> = shared.map(|(name, (at, _))| (name, at)).collect();
        names.sort_unstable();
        let place: HashMap<u32, u32> = names.iter().zip(0..).map(|((_, at), n)| (*at, n)).collect();
        let cells: Vec<(u32, u32, f32)> = cells
            .into_iter()
            .filter_map(|(row, column, value)| Some((row, *place.get(&column)?, value)))
            .collect();
        let features = Csr::from_triplets(ids.len(), names.len(), &cells)
            .map_err(|e| Error::check(e.to_string()))?;
        Ok(Self {
            ids,
            names: names.into_iter().map(|(name, _)| name).collect(),
            features,
        })
    }
}

fn index(n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::check("more than 4 billion rows or features"))
}
