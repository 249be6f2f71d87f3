//! The table `interactions` as a sparse matrix: users × items, with the ids of rows and columns.

use std::collections::HashMap;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};
use futures::StreamExt;
use xxhash_rust::xxh3::Xxh3;

use super::csr::Csr;
use super::ids::places;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::model::Examples;

/// Interactions with the ids of their rows and columns, both in order of their text.
#[derive(Debug, Clone)]
pub struct Interactions {
    /// User id of each row.
    pub users: Vec<String>,
    /// Item id of each column.
    pub items: Vec<String>,
    /// Weights, `[users, items]`.
    pub weights: Csr,
    /// When each entry of `weights` was last added to, in microseconds.
    pub times: Vec<i64>,
    /// The pairs that were bought, `[users, items]`, values 1.
    pub bought: Csr,
    /// Hash of ids and weights: two trainings with the same hash saw the same data.
    pub hash: String,
}

impl Interactions {
    /// What models learn from.
    pub fn examples(&self) -> Examples<'_> {
        Examples {
            times: Some(&self.times),
            ..Examples::new(&self.weights)
        }
    }

    /// The same users and items without the entries of `weights` at the places `held` (ascending).
    ///
    /// # Errors
    /// None that can happen.
    pub fn without(&self, held: &[usize]) -> Result<Self> {
        let mut hash = Xxh3::new();
        hash.update(self.hash.as_bytes());
        held.iter().for_each(|at| hash.update(&at.to_le_bytes()));
        let keep = |at: usize| held.binary_search(&at).is_err();
        let weights = self.weights.filtered(keep);
        let times = self.times.iter().enumerate();
        let mut bought = vec![];
        for row in 0..weights.rows() {
            let user = index(row)?;
            let (items, _) = self.bought.row(row);
            let kept = items
                .iter()
                .filter(|item| weights.row(row).0.binary_search(item).is_ok());
            bought.extend(kept.map(|&item| (user, item, 1.0)));
        }
        Ok(Self {
            bought: Csr::from_triplets(weights.rows(), weights.cols(), &bought)
                .map_err(|e| Error::unexpected(e.to_string()))?,
            times: times
                .filter(|(at, _)| keep(*at))
                .map(|(_, &time)| time)
                .collect(),
            weights,
            hash: format!("{:032x}", hash.digest128()),
            ..self.clone()
        })
    }
}

impl Interactions {
    /// The same interactions on the rows `users` and columns `items`, both ascending, which hold all of its own.
    ///
    /// # Errors
    /// When they lack one.
    pub fn widened(&self, users: &[String], items: &[String]) -> Result<Self> {
        let all_there = |own: &[String], all: &[String]| -> Result<Vec<u32>> {
            let found = places(own, all).into_iter().collect::<Option<Vec<usize>>>();
            let found =
                found.ok_or_else(|| Error::unexpected("ids that were to be kept are gone"))?;
            found.into_iter().map(index).collect()
        };
        let (rows, columns) = (
            all_there(&self.users, users)?,
            all_there(&self.items, items)?,
        );
        let widen = |of: &Csr| {
            of.widened(&rows, users.len(), &columns, items.len())
                .map_err(|e| Error::unexpected(e.to_string()))
        };
        Ok(Self {
            users: users.to_vec(),
            items: items.to_vec(),
            weights: widen(&self.weights)?,
            times: self.times.clone(),
            bought: widen(&self.bought)?,
            hash: self.hash.clone(),
        })
    }
}

/// Of an id as text, with what the allocator and a map have for it.
const BYTES_OF_AN_ID: usize = 64;

/// User, item, weight, whether it was bought, and when last.
type Pair = (u32, u32, f32, bool, i64);

impl Interactions {
    /// About how many bytes they take.
    pub fn bytes(&self) -> u64 {
        let entries =
            self.weights.values().len() * (8 + size_of::<i64>()) + self.bought.values().len() * 8;
        let ids = self.users.len() + self.items.len();
        (entries + ids * BYTES_OF_AN_ID) as u64
    }

    /// Reads the rows that `sql` selects (user_id, item_id, weight, bought, last_time), sorted by user and item.
    ///
    /// # Errors
    /// Those of SQL.
    pub async fn read(engine: &Engine, sql: &str) -> Result<Self> {
        let mut users: Vec<String> = vec![];
        let mut seen: HashMap<String, u32> = HashMap::new();
        let mut pairs: Vec<Pair> = vec![];
        let mut hash = Xxh3::new();
        let held = engine.hold("interactions");
        let mut stream = engine.stream(sql).await?;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            let text = |n: usize| cast(batch.column(n), &DataType::Utf8View);
            let (user, item) = (text(0)?, text(1)?);
            let (user, item) = (user.as_string_view(), item.as_string_view());
            let weight = batch.column(2).as_primitive::<Float64Type>();
            let bought = batch.column(3).as_boolean();
            let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
            let times = cast(batch.column(4), &micros)?;
            let times = times.as_primitive::<TimestampMicrosecondType>();
            for row in 0..batch.num_rows() {
                let id = user.value(row);
                if users.last().is_none_or(|last| last != id) {
                    users.push(id.to_string());
                }
                let next = index(seen.len())?;
                let column = match seen.get(item.value(row)) {
                    Some(column) => *column,
                    None => {
                        seen.insert(item.value(row).to_string(), next);
                        next
                    }
                };
                for part in [id.as_bytes(), item.value(row).as_bytes()] {
                    hash.update(part);
                    hash.update(&[0]);
                }
                hash.update(&weight.value(row).to_le_bytes());
                let user_row = index(users.len() - 1)?;
                // Weights are sums of a few small numbers; f32 is what the kernels compute in.
                pairs.push((
                    user_row,
                    column,
                    weight.value(row) as f32,
                    bought.value(row),
                    times.value(row),
                ));
            }
            let ids = users.len() + seen.len();
            held.resize(pairs.len() * size_of::<Pair>() + ids * BYTES_OF_AN_ID)?;
        }
        let mut items: Vec<(String, u32)> = seen.into_iter().collect();
        items.sort_unstable();
        let mut place = vec![0u32; items.len()];
        for (new, (_, old)) in items.iter().enumerate() {
            place[*old as usize] = index(new)?;
        }
        let items: Vec<String> = items.into_iter().map(|(id, _)| id).collect();
        pairs.iter_mut().for_each(|p| p.1 = place[p.1 as usize]);
        // The order of the matrix, beside whose entries the times stand.
        pairs.sort_unstable_by_key(|p| (p.0, p.1));
        let matrix = |keep: &dyn Fn(&Pair) -> Option<f32>| {
            let triplets: Vec<(u32, u32, f32)> = pairs
                .iter()
                .filter_map(|p| Some((p.0, p.1, keep(p)?)))
                .collect();
            Csr::from_triplets(users.len(), items.len(), &triplets)
                .map_err(|e| Error::unexpected(e.to_string()))
        };
        let weights = matrix(&|p| Some(p.2))?;
        let bought = matrix(&|p| p.3.then_some(1.0))?;
        Ok(Interactions {
            users,
            items,
            times: pairs.iter().map(|p| p.4).collect(),
            weights,
            bought,
            hash: format!("{:032x}", hash.digest128()),
        })
    }
}

fn index(n: usize) -> Result<u32> {
    u32::try_from(n).map_err(|_| Error::check("more than 4 billion users or items"))
}
