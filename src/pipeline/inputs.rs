//! What a night was made from, and what of it lies there otherwise today.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{NaiveDate, TimeDelta};

use crate::config::source::Interval;
use crate::config::{Run, SourceKind};
use crate::engine::Engine;
use crate::engine::rows::map;
use crate::error::{Error, Result};
use crate::ingest::{Arrival, Standing, last_night_of};

/// What became of a delivery since a night was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It came afterwards.
    Arrived,
    /// It was delivered again, with other content.
    Replaced,
    /// It counts no longer.
    Withdrawn,
}

/// A delivery that a night was not made from, or not as it lies there now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Name of the source.
    pub source: String,
    /// Day or billing period.
    pub interval: String,
    /// What became of it.
    pub how: How,
    /// Whether features, models and lists stay as they are.
    pub costs_only: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Arrived => "arrived later",
            How::Replaced => "was replaced",
            How::Withdrawn => "was withdrawn",
        };
        let costs = if self.costs_only { " (costs)" } else { "" };
        write!(f, "{} {} {how}{costs}", self.source, self.interval)
    }
}

/// What a run of today finds of the sources by day that features are made from, by source and interval.
pub(super) type There<'a> = BTreeMap<(&'a str, &'a str), &'a Arrival<'a>>;

pub(super) fn there<'a>(arrivals: impl IntoIterator<Item = &'a Arrival<'a>>) -> There<'a> {
    arrivals
        .into_iter()
        .filter(|a| a.feeds_features() && a.counts() && a.source.interval() == Interval::Day)
        .map(|a| ((a.source.name.as_str(), a.interval.as_str()), a))
        .collect()
}

/// The changes that only the costs of nights before the newest window would show, by the last night that sees them.
pub(super) fn costs_of_the_past(
    arrivals: &[Arrival<'_>],
    to: NaiveDate,
    history_days: u32,
) -> BTreeMap<NaiveDate, Vec<Change>> {
    let mut changes: BTreeMap<NaiveDate, Vec<Change>> = BTreeMap::new();
    for arrival in arrivals {
        // A run removes what is withdrawn however old it is.
        let how = match arrival.standing {
            Standing::New => How::Arrived,
            Standing::Changed => How::Replaced,
            _ => continue,
        };
        let last = last_night_of(arrival.source, arrival.day, history_days);
        let Some(night) = last.filter(|n| *n < to && !arrival.feeds_features()) else {
            continue;
        };
        changes.entry(night).or_default().push(Change {
            source: arrival.source.name.clone(),
            interval: arrival.interval.clone(),
            how,
            costs_only: true,
        });
    }
    changes
}

/// A delivery that a night was made from.
#[derive(Debug)]
struct Input {
    source: String,
    kind: String,
    interval: String,
    day: NaiveDate,
    content: String,
}

/// What a night was made from.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    rows: Vec<Input>,
    history_days: u32,
    lateness_days: u32,
}

/// The table `night_inputs`, by night.
pub(super) async fn inputs(engine: &Engine) -> Result<BTreeMap<NaiveDate, Inputs>> {
    let rows = engine.collect("select * from night_inputs").await?;
    let mut nights: BTreeMap<NaiveDate, Inputs> = BTreeMap::new();
    for (night, [history, lateness], row) in map(&rows, |row| {
        let interval = row.needed("interval")?;
        let day = interval
            .parse()
            .map_err(|_| Error::unexpected(format!("night_inputs: `{interval}` is no day")))?;
        let input = Input {
            source: row.needed("source")?,
            kind: row.needed("kind")?,
            content: row.needed("content_hash")?,
            day,
            interval,
        };
        let lateness = row.int("lateness_days")?.unwrap_or(0);
        let days = [row.count("history_days")?, lateness.unsigned_abs()];
        Ok((row.day("ds")?, days, input))
    })? {
        let Some(night) = night else { continue };
        let inputs = nights.entry(night).or_default();
        inputs.history_days = u32::try_from(history).unwrap_or(u32::MAX);
        inputs.lateness_days = u32::try_from(lateness).unwrap_or(u32::MAX);
        inputs.rows.push(row);
    }
    Ok(nights)
}

impl Inputs {
    /// Those of a night that was made from nothing.
    pub(super) fn none(run: &Run) -> Self {
        Self {
            rows: vec![],
            history_days: run.history_days,
            lateness_days: run.lateness_days,
        }
    }

    /// The earliest day that the night was made from.
    pub(super) fn first_day(&self) -> Option<NaiveDate> {
        self.rows.iter().map(|input| input.day).min()
    }

    /// The last day whose export the night may have taken late events from.
    pub(super) fn last_day(&self, night: NaiveDate) -> NaiveDate {
        night + TimeDelta::days(self.lateness_days.into())
    }

    /// What a run of the night would be made from today and was not, and the other way round. Of an export of a later day that
    /// is still to be read, or read again, nothing is known yet.
    pub(super) fn changes(&self, night: NaiveDate, there: &There<'_>) -> Vec<Change> {
        let change = |source: &str, interval: &str, how| Change {
            source: source.to_string(),
            interval: interval.to_string(),
            how,
            costs_only: false,
        };
        let mut changes = vec![];
        let mut seen = BTreeSet::new();
        for input in &self.rows {
            let key = (input.source.as_str(), input.interval.as_str());
            seen.insert(key);
            let how = match there.get(&key) {
                None => How::Withdrawn,
                Some(now) if input.day > night && !now.is_read() => continue,
                Some(now) if now.content != input.content => How::Replaced,
                Some(_) => continue,
            };
            changes.push(change(key.0, key.1, how));
        }
        let newest = |kind: &str| {
            let of_kind = self.rows.iter().filter(|i| i.kind == kind);
            of_kind.map(|i| i.day).max()
        };
        let first = night - TimeDelta::days(i64::from(self.history_days.max(1)) - 1);
        for (&key, arrival) in there {
            let from = match arrival.source.kind {
                SourceKind::Events => Some(first),
                // A snapshot takes the place of the ones before it.
                kind => newest(kind.table()),
            };
            let in_sight = from.is_none_or(|from| from <= arrival.day) && arrival.day <= night;
            if (in_sight || self.is_late(night, arrival)) && !seen.contains(&key) {
                changes.push(change(key.0, key.1, How::Arrived));
            }
        }
        changes
    }

    /// Whether what was read of a later day's export brings events that the night would have seen, had they come in time.
    fn is_late(&self, night: NaiveDate, arrival: &Arrival<'_>) -> bool {
        let lateness = TimeDelta::days(self.lateness_days.into());
        let mut days = arrival.late_days.iter();
        arrival.day > night
            && arrival.is_read()
            && days.any(|day| *day <= night && arrival.day - *day <= lateness)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Pipeline;

    const PIPELINE: &str = "name = \"shop\"\n\
        [[sources]]\nname = \"clicks\"\nkind = \"events\"\npath = \"clicks/{date}.csv\"\ndialect = \"recost\"\n\
        [[sources]]\nname = \"items\"\nkind = \"items\"\npath = \"items/{date}.csv\"\ndialect = \"recost\"\n\
        [[sources]]\nname = \"use\"\nkind = \"usage\"\npath = \"use/{date}.csv\"\ndialect = \"recost\"\n";

    fn october(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 10, day).unwrap()
    }

    /// The arrival of a day of October.
    fn arrival<'a>(of: &'a Pipeline, source: &str, day: u32, content: &str) -> Arrival<'a> {
        Arrival {
            source: of.sources.iter().find(|s| s.name == source).unwrap(),
            interval: october(day).to_string(),
            day: october(day),
            standing: Standing::Ingested,
            content: content.into(),
            late_days: vec![],
            received_at: None,
            files: 1,
            rows: 9,
            quarantined: 0,
        }
    }

    #[test]
    fn a_night_is_stale_by_what_it_saw_and_by_what_it_would_have_seen() {
        let pipeline = Pipeline::parse(PIPELINE, Path::new("pipeline.toml")).unwrap();
        let input = |source: &str, kind: &str, day: u32| Input {
            source: source.into(),
            kind: kind.into(),
            interval: october(day).to_string(),
            day: october(day),
            content: "as it was".into(),
        };
        // The night of the 10th, of three days. There was no file of the 9th; the catalogue is of the 7th.
        let inputs = Inputs {
            history_days: 3,
            lateness_days: 2,
            rows: vec![
                input("clicks", "events", 8),
                input("clicks", "events", 10),
                input("items", "items", 7),
            ],
        };
        let of = |source: &str, day: u32, content: &str| arrival(&pipeline, source, day, content);
        let as_it_was = || {
            vec![
                of("clicks", 7, "before the window"),
                of("clicks", 8, "as it was"),
                of("clicks", 10, "as it was"),
                of("clicks", 11, "after the night"),
                of("items", 6, "an older catalogue"),
                of("items", 7, "as it was"),
                of("items", 11, "after the night"),
                of("use", 9, "costs alone"),
            ]
        };
        let changes = |arrivals: &[Arrival<'_>]| -> Vec<String> {
            let changes = inputs.changes(october(10), &there(arrivals));
            changes.iter().map(Change::to_string).collect()
        };
        assert_eq!(changes(&as_it_was()), Vec::<String>::new());

        let mut now = as_it_was();
        now[1].content = "delivered again".into();
        now[2].standing = Standing::Withdrawn;
        now.push(of("clicks", 9, "late"));
        now.push(of("items", 8, "a newer catalogue"));
        assert_eq!(
            changes(&now),
            [
                "clicks 2026-10-08 was replaced",
                "clicks 2026-10-10 was withdrawn",
                "clicks 2026-10-09 arrived later",
                "items 2026-10-08 arrived later"
            ]
        );
        // A file that is gone took nothing with it, and one without a row brought nothing.
        let mut now = as_it_was();
        now[1].standing = Standing::Gone;
        now.push(of("clicks", 9, "empty"));
        now[8].rows = 0;
        assert_eq!(changes(&now), Vec::<String>::new());

        // Events that came late, in an export of which something was read.
        let late = |day: u32, content: &str, happened: &[u32]| Arrival {
            late_days: happened.iter().map(|day| october(*day)).collect(),
            ..of("clicks", day, content)
        };
        let mut now = as_it_was();
        now[3] = late(11, "after the night", &[9]);
        now.push(late(12, "of the night before it", &[11]));
        now.push(late(13, "too late", &[10]));
        assert_eq!(changes(&now), ["clicks 2026-10-11 arrived later"]);
        now[3].standing = Standing::Changed;
        now[8].late_days.push(october(10));
        assert_eq!(changes(&now), ["clicks 2026-10-12 arrived later"]);
        let mut late_too = inputs;
        late_too.rows.push(input("clicks", "events", 12));
        let changes = |arrivals: &[Arrival<'_>]| -> Vec<String> {
            let changes = late_too.changes(october(10), &there(arrivals));
            changes.iter().map(Change::to_string).collect()
        };
        assert_eq!(changes(&now), ["clicks 2026-10-12 was replaced"]);
        now[8].standing = Standing::Changed;
        assert_eq!(changes(&now), Vec::<String>::new());
        now[8].standing = Standing::Withdrawn;
        assert_eq!(changes(&now), ["clicks 2026-10-12 was withdrawn"]);
    }

    #[test]
    fn costs_before_the_newest_window_belong_to_the_last_night_that_saw_them() {
        let pipeline = Pipeline::parse(PIPELINE, Path::new("pipeline.toml")).unwrap();
        let mut arrivals: Vec<_> = (1..=9)
            .map(|day| arrival(&pipeline, "use", day, "x"))
            .collect();
        for arrival in &mut arrivals[4..] {
            arrival.standing = Standing::Changed;
        }
        // The window of the 10th holds the 8th and later days.
        let found = costs_of_the_past(&arrivals, october(10), 3);
        let found: Vec<_> = found
            .iter()
            .map(|(night, c)| (*night, c[0].to_string()))
            .collect();
        let said = |day: u32| format!("use 2026-10-0{day} was replaced (costs)");
        assert_eq!(
            found,
            [
                (october(7), said(5)),
                (october(8), said(6)),
                (october(9), said(7))
            ]
        );
    }
}
