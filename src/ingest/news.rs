//! Whether what a survey found is anything new, and the hash by which it is known again.

use super::deliveries::{Row, Status};
use super::survey::{Pending, Survey};

impl Survey<'_> {
    /// Whether ingesting it would change a table.
    pub fn brings_news(&self) -> bool {
        let mut noted = self.ledger.clone();
        for (source, interval) in &self.unchanged {
            noted.forget_incomplete(source, interval);
        }
        for (p, _) in &self.incomplete {
            noted.forget_incomplete(&p.source.name, &p.delivery.interval);
        }
        for (p, reason) in &self.incomplete {
            noted.put(Row {
                status: Status::Incomplete,
                reason: Some(reason.clone()),
                ..p.row()
            });
        }
        !self.pending.is_empty() || !self.retired.is_empty() || noted != self.ledger
    }

    /// Hash of what ingesting it would read and take the place of.
    pub fn digest(&self) -> String {
        let seen = |p: &Pending<'_>| format!("{:?}", (p.row(), &p.delivery.manifest, &p.replaces));
        let pending: Vec<String> = self.pending.iter().map(seen).collect();
        let incomplete = self.incomplete.iter().map(|(p, why)| (seen(p), why));
        let incomplete: Vec<_> = incomplete.collect();
        let all = format!(
            "{:?}",
            (pending, incomplete, &self.retired, &self.unchanged)
        );
        format!("{:032x}", xxhash_rust::xxh3::xxh3_128(all.as_bytes()))
    }
}
