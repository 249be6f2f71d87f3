//! Ranked lists on the GPU: item chunks that fit a binding pass by; each user's list so far stays on the device.

use super::engine::{Engine, Kernel, Pace};
use super::{pad, quads};
use crate::compute::kernels::score_topk::{Params, WGSL, floor, key_of, score_of};
use crate::compute::{ComputeError, MatrixView, Query, Scorer, TopK, available_items};

const THREADS: usize = 64;
const MAX_USERS: usize = 4;

/// Chunks stay on the device while they take no more than this many bindings.
const RESIDENT: usize = 8;

/// Users of a dispatch at most, so that a dispatch over few items stays short.
const MOST_USERS: u64 = 16_384;

/// A chunk takes this many bytes at most.
const CHUNK_BYTES: u64 = 256 << 20;

pub(super) struct GpuScorer<'a> {
    engine: &'a Engine,
    items: MatrixView<'a>,
    /// Item of each packed place, ascending.
    ids: Vec<u32>,
    /// Packed place of each item, `u32::MAX` for one that is not available.
    places: Vec<u32>,
    chunk: usize,
    resident: Vec<wgpu::Buffer>,
}

impl<'a> GpuScorer<'a> {
    pub fn new(
        engine: &'a Engine,
        items: MatrixView<'a>,
        available: Option<&[bool]>,
    ) -> Result<Self, ComputeError> {
        let ids = available_items(items.rows(), available)?;
        let mut places = vec![u32::MAX; items.rows()];
        for (place, &id) in ids.iter().enumerate() {
            places[id as usize] = place as u32;
        }
        let row_bytes = 16 * quads(items.cols()) as u64;
        let bytes = engine.limits().binding_bytes.min(CHUNK_BYTES);
        let chunk = (bytes / row_bytes) as usize;
        if chunk == 0 {
            return Err(engine.too_large("one item", row_bytes, bytes));
        }
        let mut scorer = Self {
            engine,
            items,
            ids,
            places,
            chunk,
            resident: Vec::new(),
        };
        let chunks = scorer.ids.len().div_ceil(chunk);
        if chunks <= RESIDENT {
            scorer.resident = (0..chunks)
                .map(|c| scorer.upload(c))
                .collect::<Result<_, _>>()?;
        }
        Ok(scorer)
    }

    fn chunk_ids(&self, chunk: usize) -> &[u32] {
        let start = chunk * self.chunk;
        &self.ids[start..self.ids.len().min(start + self.chunk)]
    }

    /// `[quads, items of the chunk]` vec4s.
    fn upload(&self, chunk: usize) -> Result<wgpu::Buffer, ComputeError> {
        let ids = self.chunk_ids(chunk);
        let quads = quads(self.items.cols());
        let mut packed = vec![[0f32; 4]; quads * ids.len()];
        for (place, &id) in ids.iter().enumerate() {
            for (q, values) in self.items.row(id as usize).chunks(4).enumerate() {
                packed[q * ids.len() + place][..values.len()].copy_from_slice(values);
            }
        }
        self.engine.upload("items", &packed)
    }

    /// Exclusions of some users of the query as packed places.
    fn exclusions(&self, query: &Query<'_>, users: std::ops::Range<usize>) -> (Vec<u32>, Vec<u32>) {
        let mut indptr = vec![0];
        let mut places = Vec::new();
        for user in users {
            places.extend(
                query
                    .excluded(user)
                    .iter()
                    .map(|&item| self.places[item as usize])
                    .filter(|&place| place != u32::MAX),
            );
            indptr.push(places.len() as u32);
        }
        (indptr, places)
    }

    /// Users whose vectors, lists and exclusions fit bindings together with the first of them.
    fn span(&self, query: &Query<'_>, start: usize, k: usize, per_group: usize) -> usize {
        let limits = self.engine.limits();
        let row = (16 * quads(self.items.cols())).max(8 * k) as u64;
        let most = (limits.binding_bytes / row)
            .min(limits.binding_bytes / 4 - 1)
            .min(u64::from(limits.groups) * per_group as u64)
            .clamp(1, MOST_USERS) as usize;
        let mut end = start + 1;
        let mut excluded = query.excluded(start).len() as u64;
        while end < query.users.rows() && end - start < most {
            excluded += query.excluded(end).len() as u64;
            if excluded > limits.binding_bytes / 4 {
                break;
            }
            end += 1;
        }
        end
    }
}

/// Item tiles that a workgroup can pass within the adapter's loop iterations, were every list cut down at every tile:
/// see `score_topk.wgsl`.
fn tiles_within(limit: u64, quads: usize, k: usize, capacity: usize, users: usize) -> usize {
    let slots = (users * capacity).div_ceil(THREADS);
    let stages = capacity.ilog2() as usize * (capacity.ilog2() as usize + 1) / 2;
    let compaction = slots + stages * (slots + 2);
    // A binary search has up to 32 steps.
    let tile = 1 + users + quads * (users + 1) + 33 * users + compaction;
    let around = k + slots + compaction;
    (limit.saturating_sub(around as u64) / tile as u64).clamp(1, 1 << 24) as usize
}

impl Scorer for GpuScorer<'_> {
    fn top_k(&self, query: &Query<'_>) -> Result<TopK, ComputeError> {
        query.check(self.items.rows(), self.items.cols())?;
        let k = query.k.min(self.ids.len());
        let mut out = TopK::default();
        if k == 0 {
            (0..query.users.rows()).for_each(|_| out.push([]));
            return Ok(out);
        }
        let engine = self.engine;
        let limits = engine.limits();
        // A list entry takes 8 bytes; 256 are left for counters.
        let shared = limits.shared_bytes.saturating_sub(256) as usize;
        // Twice k where it fits: a list is then sorted less often.
        let roomy = (2 * k).max(k + THREADS).next_power_of_two();
        let capacity = if 8 * roomy <= shared {
            roomy
        } else {
            (k + THREADS).next_power_of_two()
        };
        let per_group = (shared / (8 * capacity)).min(MAX_USERS);
        if per_group == 0 {
            let allowed = 1usize << (shared / 8).max(1).ilog2();
            let allowed = allowed.saturating_sub(THREADS) as u64;
            return Err(engine.too_large("k", k as u64, allowed));
        }
        let quads = quads(self.items.cols());
        let pipeline = engine.pipeline(
            Kernel {
                source: WGSL,
                entry: "score",
            },
            &[
                ("QUADS", quads as u32),
                ("USERS", per_group as u32),
                ("THREADS", THREADS as u32),
                ("CAPACITY", capacity as u32),
                ("SLOTS", (per_group * capacity) as u32),
            ],
        )?;
        let most_span = THREADS * tiles_within(limits.iterations, quads, k, capacity, per_group);
        let floor_key = key_of(floor(query.min_score));
        let mut pace = Pace::new(limits);
        let mut start = 0;
        while start < query.users.rows() {
            let end = self.span(query, start, k, per_group);
            let count = end - start;
            let users = engine.upload("users", &pad(query.users.rows_range(start..end)))?;
            let (indptr, excluded) = self.exclusions(query, start..end);
            let indptr = engine.upload("exclusion offsets", &indptr)?;
            let excluded = engine.upload("exclusions", &excluded)?;
            let lists = engine.zeroed("lists", (8 * k * count) as u64)?;
            let lengths = engine.zeroed("list lengths", (4 * count) as u64)?;
            for chunk in 0..self.ids.len().div_ceil(self.chunk) {
                let chunk_items = self.chunk_ids(chunk).len();
                let streamed;
                let items = match self.resident.get(chunk) {
                    Some(items) => items,
                    None => {
                        streamed = self.upload(chunk)?;
                        &streamed
                    }
                };
                let mut at = 0;
                while at < chunk_items {
                    let per_item = (8 * quads * count) as f64;
                    let span = ((pace.budget() / per_item) as usize)
                        .max(4 * THREADS)
                        .min(most_span)
                        .min(chunk_items - at);
                    let params = Params {
                        users: count as u32,
                        chunk_items: chunk_items as u32,
                        first_item: at as u32,
                        end_item: (at + span) as u32,
                        id_offset: (chunk * self.chunk) as u32,
                        k: k as u32,
                        floor_key,
                        fresh: u32::from(chunk == 0 && at == 0),
                    };
                    let spent = engine.dispatch(
                        "scoring items",
                        &pipeline,
                        &params,
                        &[
                            (1, &users),
                            (2, items),
                            (3, &indptr),
                            (4, &excluded),
                            (5, &lists),
                            (6, &lengths),
                        ],
                        [count.div_ceil(per_group) as u32, 1],
                    )?;
                    pace.learn(span as f64 * per_item, spent);
                    at += span;
                }
            }
            let lengths: Vec<u32> = engine.read("reading list lengths", &lengths, count)?;
            let lists: Vec<[u32; 2]> = engine.read("reading lists", &lists, k * count)?;
            for (list, &length) in lists.chunks_exact(k).zip(&lengths) {
                out.push(
                    list[..length as usize]
                        .iter()
                        .map(|&[key, place]| (self.ids[place as usize], score_of(key))),
                );
            }
            start = end;
        }
        Ok(out)
    }
}
