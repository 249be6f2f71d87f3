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

/// A fair pool, but for two things.
///
/// What can spill is granted a part of the memory while enough is free: a fair share is one of many, most of which hold
/// nothing, so that with several files at once sums of a few dozen MiB spilled beside a pool that was nearly empty.
///
/// What divides rows over threads never has to spill: with its spill files a query was seen to wait for ever (a report of four
/// million charges, in 640 to 1,024 MiB). What it holds is counted, and is little, since it waits for who reads from it.
#[derive(Debug)]
pub(super) struct Pool {
    fair: FairSpillPool,
    /// Bytes that an operator that can spill is granted whatever its fair share,
    part: usize,
    /// as long as no more than this is taken altogether.
    taken: usize,
    /// Whether merges of sorted runs get no more than that part either; see [`Pool::careful`].
    merges_are_parts: bool,
}

impl Pool {
    /// An operator may have half, and a quarter is left to those that cannot spill.
    pub(super) fn new(bytes: usize) -> Self {
        Pool {
            fair: FairSpillPool::new(bytes),
            part: bytes / 2,
            taken: bytes / 4 * 3,
            merges_are_parts: false,
        }
    }

    /// One in which an operator has an eighth, and so has a merge of sorted runs. The engine's merges take all there is, so
    /// that a sort beside them cannot begin; with less they merge in several passes.
    pub(super) fn careful(bytes: usize) -> Self {
        Pool {
            fair: FairSpillPool::new(bytes),
            part: bytes / 8,
            taken: bytes,
            merges_are_parts: true,
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
        let part = self.part;
        let is_part = reservation.size() + additional <= part;
        let is_merge = of.name().starts_with("ExternalSorterMerge");
        if self.merges_are_parts && is_merge && !is_part {
            let name = of.name();
            return Err(resources_datafusion_err!(
                "{name} would have more than {part} bytes of the memory pool"
            ));
        }
        let is_room = self.fair.reserved() + additional <= self.taken;
        let free =
            of.name().starts_with("RepartitionExec") || (of.can_spill() && is_part && is_room);
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
    fn what_can_spill_has_a_part_while_that_is_free_and_else_its_fair_share() {
        let pool: Arc<dyn MemoryPool> = Arc::new(Pool::new(800));
        let sorts: Vec<_> = (0..16)
            .map(|_| consumer("ExternalSorter", true, &pool))
            .collect();
        sorts[0].try_grow(400).unwrap();
        assert!(sorts[0].try_grow(1).is_err(), "half is a part");
        sorts[1].try_grow(200).unwrap();
        assert!(sorts[2].try_grow(51).is_err(), "three quarters are taken");
        sorts[2].try_grow(50).unwrap();
        let joins = consumer("HashJoinInput", false, &pool);
        joins.try_grow(150).unwrap();
        assert!(joins.try_grow(1).is_err());
    }

    #[test]
    fn a_careful_pool_keeps_merges_to_as_small_a_part_as_what_can_spill() {
        let careful: Arc<dyn MemoryPool> = Arc::new(Pool::careful(800));
        for (name, can_spill) in [("ExternalSorterMerge[0]", false), ("ExternalSorter", true)] {
            let others: Vec<_> = (0..16)
                .map(|_| consumer("AggregateStream", true, &careful))
                .collect();
            let of = consumer(name, can_spill, &careful);
            of.try_grow(100).unwrap();
            assert!(of.try_grow(1).is_err(), "{name}");
            drop(others);
        }
        let merge = consumer(
            "ExternalSorterMerge[0]",
            false,
            &(Arc::new(Pool::new(800)) as _),
        );
        merge.try_grow(800).unwrap();
    }
}
