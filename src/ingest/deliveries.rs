//! The tables `deliveries` and `delivery_sums`: what came for which interval of which source, what it adds up to, and
//! whether it counts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Int64Array, ListBuilder, RecordBatch, StringBuilder,
    StringViewArray, TimestampMicrosecondArray,
};

use chrono::NaiveDate;

use super::sums::{Amounts, Sums};
use crate::config::{LATEST, SourceKind};
use crate::engine::Engine;
use crate::engine::rows::map;
use crate::error::{Error, Result};
use crate::warehouse::{TableWriter, Type, store, table};

/// Whether a delivery counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Its rows are in the table.
    #[default]
    Active,
    /// It is not what its manifest says; its rows are nowhere.
    Incomplete,
    /// A newer one took its place; of charges, its rows are in `superseded_charges`.
    Superseded,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Active => "active",
            Status::Incomplete => "incomplete",
            Status::Superseded => "superseded",
        }
    }

    fn of(text: &str) -> Option<Self> {
        let all = [Status::Active, Status::Incomplete, Status::Superseded];
        all.into_iter().find(|s| s.as_str() == text)
    }
}

/// One delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    pub source: String,
    pub kind: String,
    pub interval: String,
    /// The file or manifest that it is known by, of an export whose deliveries add up; empty otherwise.
    pub name: String,
    pub status: Status,
    /// Why it does not count.
    pub reason: Option<String>,
    pub partitions: Vec<String>,
    pub delivery_id: String,
    /// Hash of the files alone, whatever is done with them.
    pub content: String,
    /// When the newest file was written (µs since 1970, UTC).
    pub received_us: Option<i64>,
    pub files: u64,
    pub rows_in: u64,
    pub rows_out: u64,
    pub rows_skipped: u64,
    pub rows_duplicate: u64,
    pub rows_late: u64,
    /// Days before its own on which events of it happened, as far back as [`LATEST`]; `None` where that was not noted.
    pub late_days: Option<Vec<NaiveDate>>,
    pub rows_quarantined: u64,
    /// Columns of its files, each with its type.
    pub columns: Vec<String>,
    /// Rows by its manifest.
    pub rows_stated: Option<u64>,
    /// Id of the key by which people in it have pseudonyms.
    pub pseudonyms: Option<String>,
    /// Of charges: sums by currency.
    pub sums: Sums,
}

type Key = (String, String, String, Status, String);

impl Row {
    fn key(&self) -> Key {
        (
            self.source.clone(),
            self.interval.clone(),
            self.name.clone(),
            self.status,
            self.delivery_id.clone(),
        )
    }

    /// Days before `day`, its own, on which events of it happened or, where that was not noted, may have happened.
    pub fn late_days(&self, day: NaiveDate) -> Vec<NaiveDate> {
        match &self.late_days {
            Some(days) => days.clone(),
            None if self.rows_late > 0 => {
                std::iter::successors(day.pred_opt(), NaiveDate::pred_opt)
                    .take(LATEST as usize)
                    .collect()
            }
            None => vec![],
        }
    }

    /// Start of the names of the files that it wrote.
    pub fn stem(&self) -> String {
        let interval = format!("{}.{}", self.source, self.interval);
        if self.name.is_empty() {
            interval
        } else {
            format!("{interval}.{}", self.delivery_id)
        }
    }
}

/// The billing periods that are closed.
///
/// # Errors
/// Those of the query.
pub async fn closed(engine: &Engine) -> Result<BTreeSet<String>> {
    let found = engine.collect("select billing_period from closes").await?;
    Ok(map(&found, |row| row.needed("billing_period"))?
        .into_iter()
        .collect())
}

/// The closed billing periods that were closed with the charges of this delivery, which comes once more.
///
/// # Errors
/// Those of the query.
pub async fn closed_with(
    engine: &Engine,
    delivery_id: &str,
    closed: &BTreeSet<String>,
) -> Result<BTreeSet<String>> {
    let sql =
        format!("select distinct billing_period from charges where delivery_id = '{delivery_id}'");
    let found = engine.collect(&sql).await?;
    let periods = map(&found, |row| row.needed("billing_period"))?;
    Ok(periods.into_iter().filter(|p| closed.contains(p)).collect())
}

/// Every delivery that is known.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Ledger {
    rows: BTreeMap<Key, Row>,
}

impl Ledger {
    /// Reads the published tables.
    ///
    /// # Errors
    /// Those of the query.
    pub async fn read(engine: &Engine) -> Result<Self> {
        let mut sums: BTreeMap<String, Sums> = BTreeMap::new();
        let found = engine.collect("select * from delivery_sums").await?;
        for (id, currency, amounts) in map(&found, |row| {
            let money = |name: &str| row.decimal(name, 18);
            let amounts = Amounts {
                rows: row.count("rows")?,
                billed: money("billed")?.unwrap_or(0),
                effective: money("effective")?.unwrap_or(0),
                rows_quarantined: row.count("rows_quarantined")?,
                quarantined_billed: money("quarantined_billed")?,
                quarantined_effective: money("quarantined_effective")?,
                stated_billed: money("stated_billed")?,
                stated_effective: money("stated_effective")?,
                ..Amounts::default()
            };
            Ok((row.needed("delivery_id")?, row.needed("currency")?, amounts))
        })? {
            sums.entry(id).or_default().put(currency, amounts);
        }
        let sql = "select *, array_to_string(partitions, '/') as listed,
                       array_to_string(columns, chr(10)) as named, array_to_string(late_days, ' ') as late, arrow_cast(received_at, 'Int64') as received_us
                   from deliveries";
        let rows = map(&engine.collect(sql).await?, |row| {
            let status = row.needed("status")?;
            let listed = row.text("listed")?.unwrap_or_default();
            Ok(Row {
                source: row.needed("source")?,
                kind: row.needed("kind")?,
                interval: row.needed("interval")?,
                name: row.text("name")?.unwrap_or_default(),
                status: Status::of(&status).ok_or_else(|| {
                    Error::unexpected(format!("a delivery has the status {status}"))
                })?,
                reason: row.text("reason")?,
                partitions: listed
                    .split('/')
                    .filter(|p| !p.is_empty())
                    .map(str::to_string)
                    .collect(),
                delivery_id: row.needed("delivery_id")?,
                content: row.needed("content_hash")?,
                received_us: row.int("received_us")?,
                files: row.count("files")?,
                rows_in: row.count("rows_in")?,
                rows_out: row.count("rows_out")?,
                rows_skipped: row.count("rows_skipped")?,
                rows_duplicate: row.count("rows_duplicate")?,
                rows_late: row.count("rows_late")?,
                late_days: row.text("late")?.map(|days| {
                    let days = days.split_whitespace();
                    days.filter_map(|day| day.parse().ok()).collect()
                }),
                rows_quarantined: row.count("rows_quarantined")?,
                columns: row
                    .text("named")?
                    .unwrap_or_default()
                    .lines()
                    .map(str::to_string)
                    .collect(),
                rows_stated: row.int("rows_stated")?.map(i64::unsigned_abs),
                pseudonyms: row.text("pseudonym_key")?,
                sums: Sums::default(),
            })
        })?;
        let mut ledger = Ledger::default();
        for mut row in rows {
            row.sums = sums.get(&row.delivery_id).cloned().unwrap_or_default();
            ledger.put(row);
        }
        Ok(ledger)
    }

    /// Every delivery that counts.
    pub fn active(&self) -> impl Iterator<Item = &Row> {
        self.rows.values().filter(|r| r.status == Status::Active)
    }

    /// The deliveries that count of an interval.
    pub fn of<'a>(&'a self, source: &'a str, interval: &'a str) -> impl Iterator<Item = &'a Row> {
        self.active()
            .filter(move |r| r.source == source && r.interval == interval)
    }

    /// The delivery of the newest interval before another one of a source, of which the columns are known.
    pub fn before(&self, source: &str, interval: &str) -> Option<&Row> {
        let rows = self.active().filter(|r| r.source == source);
        rows.filter(|r| r.interval.as_str() < interval && !r.columns.is_empty())
            .max_by(|a, b| a.interval.cmp(&b.interval))
    }

    /// Whether a newer delivery took the place of this one.
    pub fn is_superseded(&self, delivery_id: &str) -> bool {
        let mut rows = self.rows.values();
        rows.any(|r| r.status == Status::Superseded && r.delivery_id == delivery_id)
    }

    /// Notes a delivery.
    pub fn put(&mut self, row: Row) {
        self.rows.insert(row.key(), row);
    }

    /// Forgets a delivery.
    pub fn remove(&mut self, row: &Row) {
        self.rows.remove(&row.key());
    }

    /// Notes that a delivery counts no longer. One of charges is remembered.
    pub fn supersede(&mut self, row: &Row) {
        let Some(mut row) = self.rows.remove(&row.key()) else {
            return;
        };
        if row.kind == SourceKind::Charges.table() {
            row.status = Status::Superseded;
            self.put(row);
        }
    }

    /// Notes a delivery that counts from now on, as it may have before.
    pub fn activate(&mut self, row: Row) {
        let mut before = row.clone();
        before.status = Status::Superseded;
        self.rows.remove(&before.key());
        self.put(row);
    }

    /// Forgets what was incomplete of an interval.
    pub fn forget_incomplete(&mut self, source: &str, interval: &str) {
        self.rows.retain(|_, r| {
            r.status != Status::Incomplete || r.source != source || r.interval != interval
        });
    }

    /// Writes the tables into a snapshot.
    ///
    /// # Errors
    /// Those of writing.
    pub fn write(&self, snapshot: &Path) -> Result<()> {
        write(snapshot, "deliveries", &self.rows()?)?;
        write(snapshot, "delivery_sums", &self.sums()?)
    }

    fn rows(&self) -> Result<RecordBatch> {
        let rows = || self.rows.values();
        let mut partitions = ListBuilder::new(StringBuilder::new());
        let mut columns = ListBuilder::new(StringBuilder::new());
        let mut late_days = ListBuilder::new(StringBuilder::new());
        for row in rows() {
            partitions.append_value(row.partitions.iter().map(Some));
            columns.append_value(row.columns.iter().map(Some));
            let days = row.late_days.as_ref();
            late_days.append_option(days.map(|days| days.iter().map(|day| Some(day.to_string()))));
        }
        let text = |f: fn(&Row) -> Option<&str>| -> ArrayRef {
            Arc::new(rows().map(f).collect::<StringViewArray>())
        };
        let number = |f: fn(&Row) -> Option<u64>| -> ArrayRef {
            let values = rows().map(|r| f(r).map(|n| i64::try_from(n).unwrap_or(i64::MAX)));
            Arc::new(values.collect::<Int64Array>())
        };
        let received = rows().map(|r| r.received_us);
        let received = received.collect::<TimestampMicrosecondArray>();
        Ok(RecordBatch::try_from_iter([
            ("source", text(|r| Some(&r.source))),
            ("kind", text(|r| Some(&r.kind))),
            ("interval", text(|r| Some(&r.interval))),
            (
                "name",
                text(|r| Some(r.name.as_str()).filter(|n| !n.is_empty())),
            ),
            ("status", text(|r| Some(r.status.as_str()))),
            ("reason", text(|r| r.reason.as_deref())),
            ("partitions", Arc::new(partitions.finish()) as ArrayRef),
            ("delivery_id", text(|r| Some(&r.delivery_id))),
            ("content_hash", text(|r| Some(&r.content))),
            ("received_at", Arc::new(received.with_timezone("UTC"))),
            ("files", number(|r| Some(r.files))),
            ("rows_in", number(|r| Some(r.rows_in))),
            ("rows_out", number(|r| Some(r.rows_out))),
            ("rows_skipped", number(|r| Some(r.rows_skipped))),
            ("rows_duplicate", number(|r| Some(r.rows_duplicate))),
            ("rows_late", number(|r| Some(r.rows_late))),
            ("late_days", Arc::new(late_days.finish())),
            ("rows_quarantined", number(|r| Some(r.rows_quarantined))),
            ("rows_stated", number(|r| r.rows_stated)),
            ("columns", Arc::new(columns.finish())),
            ("pseudonym_key", text(|r| r.pseudonyms.as_deref())),
        ])?)
    }

    fn sums(&self) -> Result<RecordBatch> {
        let mut rows: Vec<(&Row, &String, &Amounts)> = self
            .rows
            .values()
            .flat_map(|r| r.sums.iter().map(move |(c, a)| (r, c, a)))
            .collect();
        rows.sort_by_key(|(r, currency, _)| (&r.source, &r.interval, &r.delivery_id, *currency));
        let text = |f: fn(&Row) -> &str| -> ArrayRef {
            Arc::new(
                rows.iter()
                    .map(|(r, ..)| Some(f(r)))
                    .collect::<StringViewArray>(),
            )
        };
        let number = |f: fn(&Amounts) -> u64| -> ArrayRef {
            let values = rows
                .iter()
                .map(|(.., a)| i64::try_from(f(a)).unwrap_or(i64::MAX));
            Arc::new(Int64Array::from_iter_values(values))
        };
        let money = |f: fn(&Amounts) -> Option<i128>| -> ArrayRef {
            let values: Decimal128Array = rows.iter().map(|(.., a)| f(a)).collect();
            Arc::new(values.with_data_type(Type::Money.arrow()))
        };
        let currency: StringViewArray = rows.iter().map(|(_, c, _)| Some(c)).collect();
        Ok(RecordBatch::try_from_iter([
            ("source", text(|r| &r.source)),
            ("interval", text(|r| &r.interval)),
            ("delivery_id", text(|r| &r.delivery_id)),
            ("currency", Arc::new(currency) as ArrayRef),
            ("rows", number(|a| a.rows)),
            ("billed", money(|a| Some(a.billed))),
            ("effective", money(|a| Some(a.effective))),
            ("rows_quarantined", number(|a| a.rows_quarantined)),
            ("quarantined_billed", money(|a| a.quarantined_billed)),
            ("quarantined_effective", money(|a| a.quarantined_effective)),
            ("stated_billed", money(|a| a.stated_billed)),
            ("stated_effective", money(|a| a.stated_effective)),
        ])?)
    }
}

fn write(snapshot: &Path, name: &str, batch: &RecordBatch) -> Result<()> {
    let table = table(name).ok_or_else(|| Error::unexpected(format!("no table {name}")))?;
    let dir = store::replace(snapshot, table, "")?;
    let mut writer = TableWriter::create(table, &dir.join("part-0.parquet"))?;
    writer.write(batch)?;
    writer.finish()?;
    Ok(())
}
