//! Driver tables: who used a resource, when, and how much.
//!
//! An interval of use belongs to the charge in which its start lies.

use std::collections::BTreeMap;

use super::map::{Map, map_bytes};
use super::target::{ModelTarget, Stage};

/// One row of a driver: a model's use of a resource over `[start, end)`.
///
/// Weights are in the driver's own unit (ns, bytes, requests, …), the same in all rows.
#[derive(Debug, Clone, Copy)]
pub struct DriverRow<'a> {
    /// `None` for use that is not bound to one resource.
    pub resource_id: Option<&'a str>,
    /// µs since the epoch, UTC.
    pub start: i64,
    pub end: i64,
    pub model: &'a str,
    pub version: Option<&'a str>,
    pub stage: Option<Stage>,
    pub weight: u64,
    /// Capacity kept for this model in the interval.
    pub reserved: Option<u64>,
    /// Capacity of the whole resource in the interval, the same in all its rows; the largest counts.
    pub capacity: Option<u64>,
}

/// What a charge's period saw of a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Weight above zero by target: an index into [`DriverTable::targets`], ascending.
    pub busy: Vec<(u32, u128)>,
    pub capacity: u128,
    /// Capacity that nobody kept busy.
    pub idle: u128,
    /// Somewhere the busy weights exceeded a known capacity.
    pub oversubscribed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    resource: u32,
    start: i64,
    end: i64,
    target: u32,
    weight: u64,
    reserved: u64,
    capacity: u64,
}

const NO_RESOURCE: u32 = u32::MAX;

/// Collects rows in any order for a [`DriverTable`].
#[derive(Debug, Default)]
pub struct DriverTableBuilder {
    resources: Map<String, u32>,
    models: Map<String, u32>,
    versions: Map<String, u32>,
    /// Model, version and stage to a target in order of arrival.
    targets: Map<(u32, Option<u32>, Stage), u32>,
    rows: Vec<Row>,
}

/// With a text of some length and what the allocator has for it.
fn bytes_of_names(names: &Map<String, u32>) -> usize {
    map_bytes(names) + names.len() * 64
}

fn intern(ids: &mut Map<String, u32>, text: &str) -> u32 {
    if let Some(&id) = ids.get(text) {
        return id;
    }
    let id = ids.len() as u32;
    ids.insert(text.to_owned(), id);
    id
}

impl DriverTableBuilder {
    pub fn push(&mut self, row: &DriverRow<'_>) {
        let resource = row.resource_id.map(|id| intern(&mut self.resources, id));
        let model = intern(&mut self.models, row.model);
        let version = row
            .version
            .map(|version| intern(&mut self.versions, version));
        let next = self.targets.len() as u32;
        let key = (model, version, row.stage.unwrap_or_default());
        self.rows.push(Row {
            resource: resource.unwrap_or(NO_RESOURCE),
            start: row.start,
            end: row.end,
            target: *self.targets.entry(key).or_insert(next),
            weight: row.weight,
            reserved: row.reserved.unwrap_or(0),
            capacity: row.capacity.unwrap_or(0),
        });
    }

    /// About how many bytes the rows take, and those of the table that becomes of them.
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * (size_of::<Row>() + size_of::<u32>())
            + [&self.resources, &self.models, &self.versions]
                .map(bytes_of_names)
                .iter()
                .sum::<usize>()
    }

    pub fn finish(self) -> DriverTable {
        let names = |ids: Map<String, u32>| {
            let mut names: Vec<_> = ids.into_iter().map(|(name, id)| (id, name)).collect();
            names.sort_unstable();
            names
                .into_iter()
                .map(|(_, name)| std::sync::Arc::from(name))
                .collect::<Vec<std::sync::Arc<str>>>()
        };
        let (models, versions) = (names(self.models), names(self.versions));
        let mut targets: Vec<(ModelTarget, u32)> = self
            .targets
            .into_iter()
            .map(|(key, id)| {
                let target = ModelTarget {
                    model: models[key.0 as usize].clone(),
                    version: key.1.map(|version| versions[version as usize].clone()),
                    stage: key.2,
                };
                (target, id)
            })
            .collect();
        targets.sort_unstable();
        // Ids in key order, so that the order of rows decides nothing.
        let mut rank = vec![0; targets.len()];
        for (place, (_, id)) in targets.iter().enumerate() {
            rank[*id as usize] = place as u32;
        }
        let mut rows = self.rows;
        for row in &mut rows {
            row.target = rank[row.target as usize];
        }
        rows.sort_unstable();
        let mut by_start: Vec<u32> = (0..rows.len() as u32).collect();
        by_start.sort_unstable_by_key(|&row| (rows[row as usize].start, row));
        let first = |id| rows.partition_point(|row| row.resource < id) as u32;
        DriverTable {
            offsets: (0..=self.resources.len() as u32).map(first).collect(),
            resources: self.resources,
            targets: targets.into_iter().map(|(target, _)| target).collect(),
            rows,
            by_start,
        }
    }
}

/// A driver's rows, sorted for lookups. At most 2³² − 1 rows.
#[derive(Debug, Default)]
pub struct DriverTable {
    resources: Map<String, u32>,
    targets: Vec<ModelTarget>,
    /// By (resource, start, end, target).
    rows: Vec<Row>,
    /// Where each resource's rows begin, and after the last, where those without one do.
    offsets: Vec<u32>,
    /// Places in `rows`, by start.
    by_start: Vec<u32>,
}

impl DriverTable {
    pub fn builder() -> DriverTableBuilder {
        DriverTableBuilder::default()
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Row>()
            + self.by_start.capacity() * size_of::<u32>()
            + bytes_of_names(&self.resources)
    }

    /// Sorted by key.
    pub fn targets(&self) -> &[ModelTarget] {
        &self.targets
    }

    /// Whether any row, of any time, is about this resource.
    pub fn knows(&self, resource: &str) -> bool {
        self.resources.contains_key(resource)
    }

    fn rows_of(&self, resource: &str, start: i64, end: i64) -> &[Row] {
        let Some(&id) = self.resources.get(resource) else {
            return &[];
        };
        let of_resource = &self.offsets[id as usize..id as usize + 2];
        let rows = &self.rows[of_resource[0] as usize..of_resource[1] as usize];
        let rows = &rows[rows.partition_point(|row| row.start < start)..];
        let until_end = rows.iter().take_while(|row| row.start < end).count();
        &rows[..until_end]
    }

    /// A machine's use in `[start, end)`: per interval and target, busy is the larger of
    /// weight and reservation, and idle is the capacity above all that is busy.
    /// `None` without rows.
    pub fn machine(&self, resource: &str, start: i64, end: i64) -> Option<Usage> {
        let rows = self.rows_of(resource, start, end);
        if rows.is_empty() {
            return None;
        }
        let mut usage = Usage::default();
        let mut busy = BTreeMap::new();
        for interval in rows.chunk_by(|a, b| (a.start, a.end) == (b.start, b.end)) {
            let capacity = interval
                .iter()
                .map(|row| u128::from(row.capacity))
                .max()
                .unwrap_or(0);
            let mut used = 0;
            for target in interval.chunk_by(|a, b| a.target == b.target) {
                let sum = |of: fn(&Row) -> u64| {
                    target.iter().map(|row| u128::from(of(row))).sum::<u128>()
                };
                let weight = sum(|row| row.weight).max(sum(|row| row.reserved));
                *busy.entry(target[0].target).or_insert(0) += weight;
                used += weight;
            }
            usage.capacity += capacity;
            usage.idle += capacity.saturating_sub(used);
            usage.oversubscribed |= capacity > 0 && used > capacity;
        }
        usage.busy = above_zero(busy);
        Some(usage)
    }

    /// Weights in `[start, end)`: those of the resource when this driver knows it, else all rows'.
    pub fn pool(&self, resource: Option<&str>, start: i64, end: i64) -> Usage {
        let mut busy = BTreeMap::new();
        let mut add = |row: &Row| *busy.entry(row.target).or_insert(0) += u128::from(row.weight);
        match resource.filter(|resource| self.knows(resource)) {
            Some(resource) => self.rows_of(resource, start, end).iter().for_each(&mut add),
            None => {
                let time = |row: &u32| self.rows[*row as usize].start;
                let from = self.by_start.partition_point(|row| time(row) < start);
                let rows = self.by_start[from..]
                    .iter()
                    .take_while(|row| time(row) < end);
                rows.for_each(|&row| add(&self.rows[row as usize]));
            }
        }
        Usage {
            busy: above_zero(busy),
            ..Usage::default()
        }
    }
}

fn above_zero(weights: BTreeMap<u32, u128>) -> Vec<(u32, u128)> {
    weights
        .into_iter()
        .filter(|(_, weight)| *weight > 0)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row<'a>(resource: &'a str, start: i64, model: &'a str, weight: u64) -> DriverRow<'a> {
        DriverRow {
            resource_id: (!resource.is_empty()).then_some(resource),
            start,
            end: start + 10,
            model,
            version: None,
            stage: None,
            weight,
            reserved: None,
            capacity: None,
        }
    }

    fn table(rows: &[DriverRow<'_>]) -> DriverTable {
        let mut builder = DriverTable::builder();
        rows.iter().for_each(|row| builder.push(row));
        builder.finish()
    }

    #[test]
    fn an_interval_belongs_to_the_charge_in_which_it_starts() {
        let table = table(&[
            row("n", 0, "a", 1),
            row("n", 95, "a", 2),
            row("n", 100, "b", 4),
            row("m", 5, "a", 8),
        ]);
        assert_eq!(table.machine("n", 0, 100).unwrap().busy, [(0, 3)]);
        assert_eq!(table.machine("n", 100, 200).unwrap().busy, [(1, 4)]);
        assert_eq!(table.machine("n", 200, 300), None);
        assert_eq!(table.machine("n", 100, 100), None);
        assert_eq!(table.machine("n", 100, 0), None);
        assert_eq!(table.machine("x", 0, 100), None);
    }

    #[test]
    fn idle_and_oversubscription_are_per_interval() {
        let with = |row: DriverRow<'static>, reserved, capacity| DriverRow {
            reserved,
            capacity,
            ..row
        };
        let rows = [
            with(row("n", 0, "a", 6), Some(2), Some(10)),
            with(row("n", 0, "b", 1), Some(3), Some(10)),
            with(row("n", 10, "a", 12), None, Some(10)),
            with(row("n", 20, "a", 0), None, Some(10)),
        ];
        let usage = table(&rows).machine("n", 0, 100).unwrap();
        assert_eq!(usage.busy, [(0, 18), (1, 3)]);
        // 10 − 9, none where 12 of 10 were used, 10.
        assert_eq!(
            (usage.capacity, usage.idle, usage.oversubscribed),
            (30, 11, true)
        );
        let first = table(&rows).machine("n", 0, 10).unwrap();
        assert_eq!((first.idle, first.oversubscribed), (1, false));
    }

    #[test]
    fn rows_of_one_model_in_an_interval_are_added_before_the_reservation_is_compared() {
        let rows = [
            DriverRow {
                reserved: Some(5),
                ..row("n", 0, "a", 4)
            },
            DriverRow {
                reserved: Some(5),
                ..row("n", 0, "a", 8)
            },
        ];
        assert_eq!(table(&rows).machine("n", 0, 9).unwrap().busy, [(0, 12)]);
    }

    #[test]
    fn a_pool_takes_the_resource_when_known_else_everything() {
        let table = table(&[
            row("s", 0, "a", 30),
            row("s", 0, "b", 10),
            row("t", 0, "b", 5),
            row("", 0, "c", 7),
        ]);
        assert_eq!(table.pool(Some("s"), 0, 10).busy, [(0, 30), (1, 10)]);
        assert_eq!(
            table.pool(Some("unknown"), 0, 10).busy,
            [(0, 30), (1, 15), (2, 7)]
        );
        assert_eq!(
            table.pool(None, 0, 10).busy,
            table.pool(Some("unknown"), 0, 10).busy
        );
        assert_eq!(table.pool(Some("s"), 10, 20).busy, []);
    }

    #[test]
    fn targets_are_in_key_order_whatever_the_order_of_rows() {
        let mut rows = [
            row("n", 0, "b", 1),
            row("n", 0, "a", 2),
            row("n", 0, "a", 3),
        ];
        rows[2].stage = Some(Stage::Training);
        let before = table(&rows);
        rows.reverse();
        let after = table(&rows);
        assert_eq!(before.targets(), after.targets());
        assert!(before.targets().is_sorted());
        assert_eq!(before.machine("n", 0, 1), after.machine("n", 0, 1));
    }
}
