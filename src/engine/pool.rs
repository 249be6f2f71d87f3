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

/// A fair pool in which what divides rows over threads never has to spill: with its spill files a query was seen to wait for
/// ever (a report of four million charges, in 640 to 1,024 MiB). What it holds is counted, and is little, since it waits for
/// who reads from it.
#[derive(Debug)]
pub(super) struct Pool {
    fair: FairSpillPool,
    bytes: usize,
    beyond: Beyond,
}

/// What is granted whatever the fair share, which is one of as many as there are operators that can spill: most hold nothing.
#[derive(Debug, Clone, Copy)]
enum Beyond {
    Nothing,
    /// To what can spill half of the pool, while no more than three quarters are taken; and never more than there is.
    Half,
    /// To what can spill an eighth while there is as much. Merges of sorted runs have no more than that either.
    Eighth,
}

impl Pool {
    /// One that is fair.
    pub(super) fn new(bytes: usize) -> Self {
        Pool {
            fair: FairSpillPool::new(bytes),
            bytes,
            beyond: Beyond::Nothing,
        }
    }

    /// One for who has a better way where memory is short: little is spilled, and what comes late may run short.
    pub(super) fn generous(bytes: usize) -> Self {
        Pool {
            beyond: Beyond::Half,
            ..Pool::new(bytes)
        }
    }

    /// One in which a merge of sorted runs leaves room for others. The engine's merges take all there is, so that a sort
    /// beside them cannot begin; with less they merge in several passes. And what can spill may have as much as a merge while
    /// that is free: a fair share may be less than a batch.
    pub(super) fn careful(bytes: usize) -> Self {
        Pool {
            beyond: Beyond::Eighth,
            ..Pool::new(bytes)
        }
    }

    /// Whether an operator is granted bytes; `None` leaves it to its fair share.
    fn grants(&self, reservation: &MemoryReservation, additional: usize) -> Option<bool> {
        let of = reservation.consumer();
        if of.name().starts_with("RepartitionExec") {
            return Some(true);
        }
        let (its, taken) = (
            reservation.size() + additional,
            self.fair.reserved() + additional,
        );
        match self.beyond {
            Beyond::Half if of.can_spill() => {
                let granted = its <= self.bytes / 2 && taken <= self.bytes / 4 * 3;
                (granted || taken > self.bytes).then_some(granted)
            }
            Beyond::Eighth if of.name().starts_with("ExternalSorterMerge") => {
                (its > self.bytes / 8).then_some(false)
            }
            Beyond::Eighth if of.can_spill() => {
                (its <= self.bytes / 8 && taken <= self.bytes).then_some(true)
            }
            _ => None,
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
        match self.grants(reservation, additional) {
            Some(true) => {
                self.fair.grow(reservation, additional);
                Ok(())
            }
            Some(false) => Err(resources_datafusion_err!(
                "{} would have more of the memory pool than is left to it",
                reservation.consumer().name()
            )),
            None => self.fair.try_grow(reservation, additional),
        }
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
        for pool in [Pool::new(1000), Pool::generous(1000), Pool::careful(1000)] {
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

    /// Sixteen that can spill.
    fn sorts(pool: &Arc<dyn MemoryPool>) -> Vec<MemoryReservation> {
        let sort = |_| consumer("ExternalSorter", true, pool);
        (0..16).map(sort).collect()
    }

    #[test]
    fn a_generous_pool_grants_half_while_that_is_free_then_fair_shares_and_never_more_than_there_is()
     {
        let pool: Arc<dyn MemoryPool> = Arc::new(Pool::generous(800));
        let sorts = sorts(&pool);
        sorts[0].try_grow(400).unwrap();
        assert!(sorts[0].try_grow(1).is_err(), "it has half");
        sorts[1].try_grow(200).unwrap();
        assert!(sorts[2].try_grow(51).is_err(), "three quarters are taken");
        sorts[2].try_grow(50).unwrap();
        let join = consumer("HashJoinInput", false, &pool);
        join.try_grow(100).unwrap();
        let others = sorts[3..].iter().filter(|sort| sort.try_grow(10).is_ok());
        assert_eq!((others.count(), pool.reserved()), (5, 800));
        assert!(join.try_grow(1).is_err());
    }

    #[test]
    fn a_careful_pool_grants_an_eighth_while_there_is_as_much_and_merges_no_more() {
        let careful: Arc<dyn MemoryPool> = Arc::new(Pool::careful(800));
        let merge = consumer("ExternalSorterMerge[0]", false, &careful);
        merge.try_grow(100).unwrap();
        assert!(merge.try_grow(1).is_err());
        let fair: Arc<dyn MemoryPool> = Arc::new(Pool::new(800));
        for (pool, granted) in [(&fair, false), (&careful, true)] {
            let sorts = sorts(pool);
            assert_eq!(sorts[0].try_grow(100).is_ok(), granted);
        }
        let merge = consumer("ExternalSorterMerge[0]", false, &fair);
        merge.try_grow(800).unwrap();
    }
}
