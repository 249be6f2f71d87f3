//! How each source stands: what came of it, what is missing, late or gone, and how old the newest of it is.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::nights::Nights;
use super::run::window;
use crate::config::source::Interval;
use crate::config::{Pipeline, Source};
use crate::engine::Engine;
use crate::engine::rows::map;
use crate::error::Result;
use crate::ingest::{Arrival, Standing};

/// A source and what came of it.
#[derive(Debug)]
pub struct Freshness<'a> {
    /// The source.
    pub source: &'a Source,
    /// Intervals that were ingested, of all time.
    pub intervals: usize,
    /// The newest of them.
    pub newest: Option<String>,
    /// When its newest file was written.
    pub received_at: Option<DateTime<Utc>>,
    /// From the end of its newest day, or from when its newest file was written where it has no days.
    pub age: Option<TimeDelta>,
    /// Rows published.
    pub rows: u64,
    /// Rows rejected.
    pub quarantined: u64,
    /// Events of earlier days in the newest interval.
    pub late_rows: u64,
    /// Days of the window that should be there and are not.
    pub missing: Vec<String>,
    /// Days that are not there and not expected yet.
    pub awaited: Vec<String>,
    /// Intervals that came after their night was run: when they came, and when it was run.
    pub late: Vec<(String, DateTime<Utc>, DateTime<Utc>)>,
    /// Intervals that were ingested and whose files are gone.
    pub gone: Vec<String>,
    /// Intervals that lie there and were not ingested as they are now, or are to be removed.
    pub waiting: Vec<String>,
    /// What a source without days lacks: its newest file is older than the pipeline file allows.
    pub outdated: Option<TimeDelta>,
}

impl Freshness<'_> {
    /// What of it somebody has to see to; `None` where nothing is, or where the source may be missing.
    pub fn alarm(&self) -> Option<String> {
        if !self.source.required {
            return None;
        }
        let name = &self.source.name;
        if !self.missing.is_empty() {
            let missing = crate::ingest::shortened(&self.missing, "days");
            return Some(format!("source `{name}` lacks {missing}"));
        }
        let age = self.outdated?;
        let hours = age.num_hours();
        Some(format!(
            "the newest file of source `{name}` is {hours} hours old"
        ))
    }

    /// For machines.
    pub fn json(&self) -> serde_json::Value {
        let late = self.late.iter().map(|(interval, received, ran)| {
            serde_json::json!({"interval": interval, "received_at": received, "night_ran_at": ran})
        });
        serde_json::json!({
            "source": self.source.name, "kind": self.source.kind.table(), "required": self.source.required,
            "intervals": self.intervals, "newest": self.newest, "received_at": self.received_at,
            "age_seconds": self.age.map(|age| age.num_seconds()), "fresh": self.is_fresh(),
            "rows": self.rows, "quarantined": self.quarantined, "late_rows": self.late_rows,
            "missing": self.missing, "awaited": self.awaited, "late": late.collect::<Vec<_>>(),
            "gone": self.gone, "waiting": self.waiting,
        })
    }

    /// Whether all that is expected of it by now is there.
    pub fn is_fresh(&self) -> bool {
        self.missing.is_empty() && self.outdated.is_none()
    }
}

/// What the table `deliveries` says of a source.
struct Delivered {
    source: String,
    oldest: String,
    newest: String,
    intervals: u64,
    rows: u64,
    quarantined: u64,
    late_rows: u64,
    received_at: Option<DateTime<Utc>>,
}

/// How every source of the pipeline stands for the night `date`, at the time `now`.
///
/// # Errors
/// Those of the query.
pub async fn freshness<'a>(
    pipeline: &'a Pipeline,
    engine: &Engine,
    nights: &Nights<'_>,
    date: NaiveDate,
    now: DateTime<Utc>,
) -> Result<Vec<Freshness<'a>>> {
    let sql = r#"select source, min("interval") as oldest, max("interval") as newest,
                   count(distinct "interval") as intervals, sum(rows_out) as rows, sum(rows_quarantined) as quarantined,
                   sum(rows_late) filter (where "interval" = latest) as late_rows, max(received_at) as received_at
               from (select *, max("interval") over (partition by source) as latest from deliveries where status = 'active')
               group by source"#;
    let delivered = map(&engine.collect(sql).await?, |row| {
        Ok(Delivered {
            source: row.needed("source")?,
            oldest: row.needed("oldest")?,
            newest: row.needed("newest")?,
            intervals: row.count("intervals")?,
            rows: row.count("rows")?,
            quarantined: row.count("quarantined")?,
            late_rows: row.count("late_rows")?,
            received_at: row.time("received_at")?,
        })
    })?;
    let standing = |source: &'a Source| {
        let ingested = delivered.iter().find(|d| d.source == source.name);
        let of = |a: &&Arrival| a.source.name == source.name && a.day <= date;
        let arrivals: Vec<&Arrival> = nights.arrivals.iter().filter(of).collect();
        let named = |wanted: &[Standing]| -> Vec<String> {
            let some = arrivals.iter().filter(|a| wanted.contains(&a.standing));
            some.map(|a| a.interval.clone()).collect()
        };
        let (missing, awaited) = absent(pipeline, source, ingested, &arrivals, date, now);
        let seen = arrivals.iter().filter_map(|a| a.received_at).max();
        let received_at = ingested.and_then(|d| d.received_at).max(seen);
        let age = match source.interval() {
            Interval::Day => {
                let there = arrivals
                    .iter()
                    .filter(|a| a.standing != Standing::Incomplete);
                let newest = there.map(|a| a.day).max();
                newest.map(|day| now - end_of(day))
            }
            _ => received_at.map(|at| now - at),
        };
        let allowed = source
            .late_after
            .filter(|_| source.interval() != Interval::Day);
        let late = arrivals.iter().filter_map(|a| {
            let ran = nights.late(a)?;
            Some((a.interval.clone(), a.received_at?, ran))
        });
        Freshness {
            source,
            intervals: ingested.map_or(0, |d| usize::try_from(d.intervals).unwrap_or(0)),
            newest: ingested.map(|d| d.newest.clone()),
            received_at,
            outdated: age
                .zip(allowed)
                .filter(|(age, most)| *age > most.0)
                .map(|(age, _)| age),
            age,
            rows: ingested.map_or(0, |d| d.rows),
            quarantined: ingested.map_or(0, |d| d.quarantined),
            late_rows: ingested.map_or(0, |d| d.late_rows),
            missing,
            awaited,
            late: late.collect(),
            gone: named(&[Standing::Gone]),
            waiting: named(&[Standing::New, Standing::Changed, Standing::Withdrawn]),
        }
    };
    Ok(pipeline.sources.iter().map(standing).collect())
}

/// The days of the window that a source by day has nothing for: those that are due, and those that are not yet. Days before
/// the first one that it ever delivered were never there.
fn absent(
    pipeline: &Pipeline,
    source: &Source,
    ingested: Option<&Delivered>,
    arrivals: &[&Arrival<'_>],
    date: NaiveDate,
    now: DateTime<Utc>,
) -> (Vec<String>, Vec<String>) {
    if source.interval() != Interval::Day {
        return (vec![], vec![]);
    }
    let (first, last) = window(pipeline, date);
    let oldest = ingested.and_then(|d| d.oldest.parse().ok());
    let oldest = oldest.or_else(|| arrivals.iter().map(|a| a.day).min());
    let grace = source.late_after.unwrap_or(pipeline.run.late_after).0;
    let there = |day: &NaiveDate| {
        source.withdraws(&day.to_string()) || arrivals.iter().any(|a| a.day == *day)
    };
    let days = oldest.unwrap_or(date).max(first).iter_days();
    let absent = days
        .take_while(|day| *day <= last)
        .filter(|day| !there(day));
    let (due, not_yet): (Vec<NaiveDate>, Vec<NaiveDate>) =
        absent.partition(|day| end_of(*day) + grace <= now);
    let named = |days: Vec<NaiveDate>| days.iter().map(NaiveDate::to_string).collect();
    (named(due), named(not_yet))
}

/// The instant at which a day is over, UTC.
pub fn end_of(day: NaiveDate) -> DateTime<Utc> {
    let end = day.and_time(chrono::NaiveTime::MIN) + TimeDelta::days(1);
    end.and_utc()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_export_is_missing_once_its_time_is_over() {
        let text = |keys: &str| {
            format!(
                "name = \"shop\"\n[run]\nlate_after = \"4h\"\n[[sources]]\nname = \"clicks\"\nkind = \"events\"\n\
                 path = \"{{date}}.csv\"\ndialect = \"recost\"\n{keys}"
            )
        };
        let absent = |keys: &str, now: &str| {
            let file = std::path::Path::new("pipeline.toml");
            let pipeline = Pipeline::parse(&text(keys), file).unwrap();
            let date = NaiveDate::from_ymd_opt(2026, 10, 31).unwrap();
            let now = now.parse().unwrap();
            let (missing, awaited) =
                super::absent(&pipeline, &pipeline.sources[0], None, &[], date, now);
            (missing.len(), awaited.len())
        };
        assert_eq!(absent("", "2026-11-01T03:59:59Z"), (0, 1));
        assert_eq!(absent("", "2026-11-01T04:00:00Z"), (1, 0));
        let own = "late_after = \"6h\"";
        assert_eq!(absent(own, "2026-11-01T04:00:00Z"), (0, 1));
        assert_eq!(absent(own, "2026-11-01T06:00:00Z"), (1, 0));
        let withdrawn = "withdrawn = [\"2026-10-31\"]";
        assert_eq!(absent(withdrawn, "2026-11-02T00:00:00Z"), (0, 0));
    }
}
