//! A digest of a billing period's allocations, gathered while they are written: what they add up to (`allocation_days`)
//! and the largest of them (`largest_allocations`), so that a figure can be followed without reading them all again.
//!
//! Memory is bounded by the distinct lines and by [`KEPT`] rows per day, currency, target, model, version and stage, however
//! many charges there are.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringViewArray,
};

use super::Allocation;
use super::allocate::issuer;
use super::map::Map;
use super::work::contract;
use crate::engine::{Engine, Held, Library};
use crate::error::{Error, Result};
use crate::warehouse::{TableWriter, Type, store};

/// Bytes that a row of `largest_allocations` takes while it is made.
const BYTES: usize = 1024;

/// Bytes that one that is kept takes, with its texts.
const KEPT_BYTES: usize = size_of::<Kept>() + 96;

/// Rows of a batch of what was kept, which are joined with the charges at once in any case.
const BATCH_ROWS: usize = 8192;

/// Rows of `largest_allocations` per day, currency, target, model, version and stage.
pub const KEPT: usize = 20;

/// What a line of `allocation_days` is by, beside its day. The first [`OF_GROUP`] are what the largest are of.
pub const TEXTS: [&str; 12] = [
    "currency",
    "target",
    "model_id",
    "model_version",
    "stage",
    "reason",
    "category",
    "charge_category",
    "rule",
    "rule_version",
    "driver",
    "basis",
];
const OF_GROUP: usize = 5;

/// The texts of a line, in the order of [`TEXTS`].
pub type Texts<'a> = [Option<&'a str>; TEXTS.len()];

/// Bytes that are in no UTF-8 text: the end of a text, and none.
const END: u8 = 0xFF;
const NONE: u8 = 0xFE;

/// Gathers; see the module's head.
pub struct Digest {
    held: Held,
    /// Place in `lines` of what a line is by: the day, then each text with its end.
    places: Map<Box<[u8]>, u32>,
    lines: Vec<Line>,
    /// Place in `largest` of the start of such a key.
    groups: Map<Box<[u8]>, u32>,
    largest: Vec<BinaryHeap<Kept>>,
    key: Vec<u8>,
    seen: u64,
}

struct Line {
    group: u32,
    parts: i64,
    billed: i128,
    effective: i128,
}

/// One of the largest. In order, the largest comes first: the heap's top is the one to go.
struct Kept {
    rank: (Reverse<u128>, Reverse<u128>),
    row_id: Box<str>,
    /// Tells parts of one charge apart that are alike.
    seen: u64,
    line: u32,
    issuer: Box<str>,
    via: Option<Box<str>>,
    /// Weight, sum of the weights, billed, effective.
    amounts: [i128; 4],
}

impl Kept {
    fn key(&self) -> (&(Reverse<u128>, Reverse<u128>), &str, u64) {
        (&self.rank, &self.row_id, self.seen)
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Kept {}

impl Digest {
    /// Of nothing yet; what it holds is counted.
    pub(super) fn new(held: Held) -> Self {
        Digest {
            held,
            places: Map::default(),
            lines: vec![],
            groups: Map::default(),
            largest: vec![],
            key: vec![],
            seen: 0,
        }
    }

    /// Adds an allocation with its texts, and its weight, sum of the weights, billed and effective.
    ///
    /// # Errors
    /// `Kind::Check` when a sum leaves its range.
    pub fn add(&mut self, texts: &Texts<'_>, a: &Allocation<'_>, amounts: [i128; 4]) -> Result<()> {
        let at = self.line(texts, a.day)?;
        let line = &mut self.lines[at as usize];
        line.parts += 1;
        for (sum, amount) in [
            (&mut line.billed, amounts[2]),
            (&mut line.effective, amounts[3]),
        ] {
            *sum = sum.checked_add(amount).ok_or_else(|| {
                Error::check(format!(
                    "the allocations of {} add up to too much",
                    a.row_id
                ))
            })?;
        }
        self.seen += 1;
        let rank = (
            Reverse(amounts[3].unsigned_abs()),
            Reverse(amounts[2].unsigned_abs()),
        );
        let heap = &mut self.largest[line.group as usize];
        if heap.len() == KEPT {
            let smallest = heap.peek().map(Kept::key);
            if smallest.is_some_and(|smallest| (&rank, a.row_id, self.seen) > smallest) {
                return Ok(());
            }
            heap.pop();
        } else {
            self.held.grow(KEPT_BYTES)?;
        }
        heap.push(Kept {
            rank,
            row_id: a.row_id.into(),
            seen: self.seen,
            line: at,
            issuer: issuer(a).into(),
            via: a.via.map(Into::into),
            amounts,
        });
        Ok(())
    }

    /// The place of the line, which is made where it is new.
    fn line(&mut self, texts: &Texts<'_>, day: i32) -> Result<u32> {
        self.key.clear();
        self.key.extend(day.to_le_bytes());
        let mut of_group = 0;
        for (at, text) in texts.iter().enumerate() {
            if at == OF_GROUP {
                of_group = self.key.len();
            }
            match text {
                Some(text) => self.key.extend(text.as_bytes()),
                None => self.key.push(NONE),
            }
            self.key.push(END);
        }
        if let Some(at) = self.places.get(self.key.as_slice()) {
            return Ok(*at);
        }
        let too_many = |_| Error::check("the allocations have too many rules, models and versions");
        let group = match self.groups.get(&self.key[..of_group]) {
            Some(group) => *group,
            None => {
                let group = u32::try_from(self.largest.len()).map_err(too_many)?;
                self.groups.insert(self.key[..of_group].into(), group);
                self.largest.push(BinaryHeap::with_capacity(KEPT + 1));
                group
            }
        };
        let at = u32::try_from(self.lines.len()).map_err(too_many)?;
        self.held.grow(size_of::<Line>() + 2 * self.key.len())?;
        self.lines.push(Line {
            group,
            parts: 0,
            billed: 0,
            effective: 0,
        });
        self.places.insert(self.key.as_slice().into(), at);
        Ok(at)
    }

    /// Writes both tables of the billing period. The session has its charges.
    ///
    /// # Errors
    /// Those of SQL and of writing.
    pub async fn write(
        self,
        library: &Library,
        engine: &Engine,
        snapshot: &Path,
        period: &str,
    ) -> Result<()> {
        let mut by = vec![By::default(); self.lines.len()];
        for (key, at) in &self.places {
            by[*at as usize] = By::of(key)?;
        }
        let mut order: Vec<usize> = (0..by.len()).collect();
        order.sort_unstable_by_key(|at| &by[*at]);

        let table = contract("allocation_days")?;
        let dir = store::replace(snapshot, table, period)?;
        let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
        let lines: Vec<(&By, &Line)> = order
            .iter()
            .map(|at| (&by[*at], &self.lines[*at]))
            .collect();
        if !lines.is_empty() {
            writer.write(&sums(&lines)?)?;
        }
        writer.finish()?;

        let table = contract("largest_allocations")?;
        let dir = store::replace(snapshot, table, period)?;
        let largest = self.largest.into_iter().map(BinaryHeap::into_sorted_vec);
        let mut kept: Vec<(usize, Kept)> =
            largest.flat_map(|of| of.into_iter().enumerate()).collect();
        // In the order of the table, so that parts of it that fit the memory follow each other.
        kept.sort_by_key(|(place, k)| {
            let of = &by[k.line as usize];
            (of.day, &of.texts[..OF_GROUP], *place)
        });
        let sql = library.get("attribution/largest_allocations.sql")?;
        let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
        let at_once = (engine.memory() / 16 / BYTES).max(BATCH_ROWS);
        for some in kept.chunks(at_once) {
            // In batches that hold nothing of each other, or each is counted as all of them.
            let batches = some.chunks(BATCH_ROWS);
            let batches = batches.map(|rows| largest_of(rows, &by, period));
            let frame = engine
                .context()
                .read_batches(batches.collect::<Result<Vec<_>>>()?)?;
            engine.replace_with("largest", frame)?;
            let rows = engine.in_order_of(table, sql, engine.sorting()).await?;
            writer.write_all(rows).await?;
        }
        writer.finish()?;
        Ok(())
    }
}

/// What a line is by.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct By<'a> {
    day: i32,
    texts: Texts<'a>,
}

impl<'a> By<'a> {
    fn of(key: &'a [u8]) -> Result<Self> {
        let broken = || Error::unexpected("a line of the allocations' digest cannot be read");
        let (day, rest) = key.split_first_chunk().ok_or_else(broken)?;
        let mut by = By {
            day: i32::from_le_bytes(*day),
            texts: Texts::default(),
        };
        for (text, bytes) in by.texts.iter_mut().zip(rest.split(|byte| *byte == END)) {
            if bytes != [NONE] {
                *text = Some(std::str::from_utf8(bytes).map_err(|_| broken())?);
            }
        }
        Ok(by)
    }
}

/// Columns of what lines are by.
fn columns<'a>(by: &[&By<'a>]) -> Vec<(&'static str, ArrayRef)> {
    let days = Date32Array::from_iter_values(by.iter().map(|by| by.day));
    let mut columns: Vec<(&str, ArrayRef)> = vec![("day", Arc::new(days))];
    for (at, name) in TEXTS.iter().enumerate() {
        let texts: StringViewArray = by.iter().map(|by| by.texts[at]).collect();
        columns.push((name, Arc::new(texts)));
    }
    columns
}

fn decimals(ty: Type, values: impl Iterator<Item = i128>) -> ArrayRef {
    Arc::new(Decimal128Array::from_iter_values(values).with_data_type(ty.arrow()))
}

fn sums(lines: &[(&By<'_>, &Line)]) -> Result<RecordBatch> {
    let by: Vec<&By<'_>> = lines.iter().map(|line| line.0).collect();
    let mut columns = columns(&by);
    let parts = Int64Array::from_iter_values(lines.iter().map(|line| line.1.parts));
    columns.push(("parts", Arc::new(parts)));
    let billed = lines.iter().map(|line| line.1.billed);
    columns.push(("billed", decimals(Type::Money, billed)));
    let effective = lines.iter().map(|line| line.1.effective);
    columns.push(("effective", decimals(Type::Money, effective)));
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn largest_of(kept: &[(usize, Kept)], by: &[By<'_>], period: &str) -> Result<RecordBatch> {
    let of: Vec<&By<'_>> = kept.iter().map(|(_, k)| &by[k.line as usize]).collect();
    let mut columns = columns(&of);
    let text = |f: &dyn Fn(&Kept) -> Option<&str>| -> ArrayRef {
        let texts: StringViewArray = kept.iter().map(|(_, k)| f(k)).collect();
        Arc::new(texts)
    };
    columns.push(("row_id", text(&|k| Some(&k.row_id))));
    columns.push(("issuer", text(&|k| Some(&k.issuer))));
    columns.push(("via", text(&|k| k.via.as_deref())));
    let periods: StringViewArray = kept.iter().map(|_| Some(period)).collect();
    columns.push(("billing_period", Arc::new(periods)));
    let places = kept.iter().map(|(place, _)| *place as i32 + 1);
    columns.push(("place", Arc::new(Int32Array::from_iter_values(places))));
    for (at, (name, ty)) in [
        ("weight", Type::Whole),
        ("weight_total", Type::Whole),
        ("billed", Type::Money),
        ("effective", Type::Money),
    ]
    .into_iter()
    .enumerate()
    {
        let values = kept.iter().map(|(_, k)| k.amounts[at]);
        columns.push((name, decimals(ty, values)));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}
