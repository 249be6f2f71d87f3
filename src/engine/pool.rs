//! The memory that queries share, and what stages hold beside them.

use std::fmt;
use std::sync::Arc;

use datafusion::common::resources_datafusion_err;
use datafusion::execution::memory_pool::{
    FairSpillPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
};

use crate::error::{Error, Result};

/// What a stage holds beside its queries, counted in the memory that these share.
#[derive(Debug)]
pub struct Held {
    what: &'static str,
    reservation: MemoryReservation,
}

impl Held {
    pub(super) fn new(what: &'static str, pool: &Arc<dyn MemoryPool>) -> Self {
        Held {
            what,
            reservation: MemoryConsumer::new(what).register(pool),
        }
    }

    /// Says that it is so many bytes now.
    ///
    /// # Errors
    /// When queries have less.
    pub fn resize(&self, bytes: usize) -> Result<()> {
        self.reservation.try_resize(bytes).map_err(|_| {
            let what = self.what;
            let message = format!(
                "{what} are {} MiB by now, and queries share half of `[engine] memory`",
                bytes >> 20
            );
            Error::unexpected(message).help("raise `[engine] memory` in the pipeline file")
        })
    }

    /// Says that it is so many bytes more.
    ///
    /// # Errors
    /// As [`Held::resize`].
    pub fn grow(&self, bytes: usize) -> Result<()> {
        self.resize(self.reservation.size() + bytes)
    }
}

/// What part of the memory one operator has in a careful pool.
const PART: usize = 8;

/// A fair pool in which what divides rows over threads never has to spill: with its spill files a query was seen to wait for
/// ever (a report of four million charges, in 640 to 1,024 MiB). What it holds is counted, and is little, since it waits for
/// who reads from it.
#[derive(Debug)]
pub(super) struct Pool {
    fair: FairSpillPool,
    /// What a merge may have, and what can spill while that is free; see [`Pool::careful`].
    part: Option<usize>,
    bytes: usize,
}

impl Pool {
    pub(super) fn new(bytes: usize) -> Self {
        Pool {
            fair: FairSpillPool::new(bytes),
            part: None,
            bytes,
        }
    }

    /// One in which a merge of sorted runs leaves room for others. The engine's merges take all there is, so that a sort
    /// beside them cannot begin; with less they merge in several passes. And what can spill may have as much as a merge while
    /// that is free: a fair share is one of many, most of which hold nothing, and may be less than a batch.
    pub(super) fn careful(bytes: usize) -> Self {
        Pool {
            part: Some(bytes / PART),
            ..Pool::new(bytes)
        }
    }
}

impl MemoryPool for Pool {
    fn name(&self) -> &str {
        "fair"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.fair.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.fair.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.fair.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.fair.shrink(reservation, shrink);
    }

    fn try_grow(
        &self,
        reservation: &MemoryReservation,
        additional: usize,
    ) -> datafusion::error::Result<()> {
        let of = reservation.consumer();
        let mut free = of.name().starts_with("RepartitionExec");
        if let Some(part) = self.part {
            let is_within = reservation.size() + additional <= part;
            if of.name().starts_with("ExternalSorterMerge") && !is_within {
                let name = of.name();
                return Err(resources_datafusion_err!(
                    "{name} would have more than {part} bytes of the memory pool"
                ));
            }
            free |= of.can_spill() && is_within && self.fair.reserved() + additional <= self.bytes;
        }
        if free {
            self.fair.grow(reservation, additional);
            return Ok(());
        }
        self.fair.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.fair.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.fair.memory_limit()
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fair.fmt(f)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn consumer(name: &str, can_spill: bool, pool: &Arc<dyn MemoryPool>) -> MemoryReservation {
        let consumer = MemoryConsumer::new(name).with_can_spill(can_spill);
        consumer.register(pool)
    }

    #[test]
    fn what_divides_rows_over_threads_is_never_told_to_spill() {
        for pool in [Pool::new(1000), Pool::careful(1000)] {
            let pool: Arc<dyn MemoryPool> = Arc::new(pool);
            let held = Held::new("ids", &pool);
            held.resize(1000).unwrap();
            let error = held.grow(1).unwrap_err();
            assert!(error.remedy().unwrap().contains("[engine] memory"));
            let divides = consumer("RepartitionExec[3]", true, &pool);
            divides.try_grow(50).unwrap();
            assert_eq!(pool.reserved(), 1050, "it is counted");
            let sorts = consumer("ExternalSorter[3]", true, &pool);
            assert!(sorts.try_grow(1).is_err(), "others have what is left");
            drop((held, divides));
            sorts.try_grow(1).unwrap();
        }
    }

    #[test]
    fn a_careful_pool_keeps_merges_to_a_part_and_grants_as_much_whatever_the_fair_share() {
        let careful: Arc<dyn MemoryPool> = Arc::new(Pool::careful(800));
        let merge = consumer("ExternalSorterMerge[0]", false, &careful);
        merge.try_grow(100).unwrap();
        assert!(merge.try_grow(1).is_err());
        let fair: Arc<dyn MemoryPool> = Arc::new(Pool::new(800));
        for (pool, granted) in [(&fair, false), (&careful, true)] {
            let sorts: Vec<_> = (0..16)
                .map(|_| consumer("ExternalSorter", true, pool))
                .collect();
            assert_eq!(sorts[0].try_grow(100).is_ok(), granted);
        }
    }
}
