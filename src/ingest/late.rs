//! Events that come in the export of a later day, and the days on which they happened.

use chrono::{NaiveDate, TimeDelta};

use crate::config::LATEST;

/// Events that happened before the day of their export.
#[derive(Debug, Clone, Copy, Default)]
pub struct Late {
    /// How many there are.
    pub rows: u64,
    /// By how many days: bit `n` says that there is one of `n + 1` days before the export's, of the [`LATEST`] at most.
    days: u32,
}

impl Late {
    /// Those of the events that happened at `times` (µs) and came in the export of a day that begins at `before` (µs).
    pub fn of(times: &[i64], before: i64) -> Self {
        const DAY: i64 = 86_400_000_000;
        let mut late = Late::default();
        for time in times.iter().filter(|time| **time < before) {
            late.rows += 1;
            let days = before.saturating_sub(*time).saturating_sub(1) / DAY;
            late.days |= match u32::try_from(days) {
                Ok(days) if days < LATEST => 1 << days,
                _ => 0,
            };
        }
        late
    }

    /// Adds others of the same export.
    pub fn add(&mut self, other: Late) {
        self.rows += other.rows;
        self.days |= other.days;
    }

    /// The days on which they happened, as far as they are told apart; `day` is that of the export.
    pub fn days(self, day: NaiveDate) -> Vec<NaiveDate> {
        let late = (0..LATEST)
            .rev()
            .filter(|days| self.days & (1 << days) != 0);
        late.map(|days| day - TimeDelta::days(i64::from(days) + 1))
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn days_of_lateness_are_counted_from_the_days_end() {
        let day = NaiveDate::from_ymd_opt(2026, 3, 1).unwrap();
        let midnight = day
            .and_hms_opt(0, 0, 0)
            .unwrap()
            .and_utc()
            .timestamp_micros();
        let ago = |days: i64, us: i64| midnight - days * 86_400_000_000 + us;
        let days = |times: &[i64]| {
            let late = Late::of(times, midnight);
            let days: Vec<String> = late.days(day).iter().map(NaiveDate::to_string).collect();
            (late.rows, days.join(" "))
        };
        assert_eq!(days(&[midnight, midnight + 1]), (0, String::new()));
        assert_eq!(days(&[ago(0, -1)]), (1, "2026-02-28".into()));
        assert_eq!(days(&[ago(1, 0)]), (1, "2026-02-28".into()));
        assert_eq!(
            days(&[ago(1, -1), ago(0, -1), ago(1, -2)]),
            (3, "2026-02-27 2026-02-28".into())
        );
        // What is later still is counted, and its day is not told.
        assert_eq!(days(&[ago(31, 0)]), (1, "2026-01-29".into()));
        assert_eq!(days(&[ago(31, -1), i64::MIN]), (2, String::new()));

        let mut late = Late::of(&[ago(1, 0)], midnight);
        late.add(Late::of(&[ago(3, 0)], midnight));
        assert_eq!((late.rows, late.days(day).len()), (2, 2));
    }
}
