//! Ranked lists on the GPU: item chunks that fit a binding pass by; each user's candidates so far stay on the device.

use super::engine::{Engine, Kernel, Pace};
use crate::compute::kernels::score_topk::{Params, WGSL, floor, key_of, score_of};
use crate::compute::{ComputeError, MatrixView, Query, Scorer, TopK, available_items};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Vectors of a panel, and users of a workgroup.
const PANEL: usize = 64;

/// Floats of vectors that pass through shared memory together.
const DEEP: usize = 8;

/// Items that a workgroup may score at a time, each with as many threads.
const WIDTHS: [usize; 3] = [256, 128, 64];

/// Chunks stay on the device while they take no more than this many bindings.
const RESIDENT: usize = 8;

/// Users of a dispatch at most, so that a dispatch over few items stays short.
const MOST_USERS: usize = 16_384;

/// A chunk takes this many bytes at most.
const CHUNK_BYTES: u64 = 256 << 20;

pub(super) struct GpuScorer<'a> {
    engine: &'a Engine,
    items: MatrixView<'a>,
    /// Item of each packed place, ascending.
    ids: Vec<u32>,
    /// Packed place of each item, `u32::MAX` for one that is not available.
    places: Vec<u32>,
    /// Floats of a vector with its padding.
    depth: usize,
    /// Items of a chunk.
    chunk: usize,
    resident: Vec<wgpu::Buffer>,
    pace: Mutex<Pace>,
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
        let depth = items.cols().next_multiple_of(DEEP).max(DEEP);
        let bytes = engine.limits().binding_bytes.min(CHUNK_BYTES);
        // Whatever the width, whole tiles.
        let tile_bytes = (4 * depth * WIDTHS[0]) as u64;
        let chunk = (bytes / tile_bytes) as usize * WIDTHS[0];
        if chunk == 0 {
            return Err(engine.too_large("some items", tile_bytes, bytes));
        }
        let mut scorer = Self {
            engine,
            items,
            ids,
            places,
            depth,
            chunk,
            resident: Vec::new(),
            pace: Mutex::new(Pace::new(engine.limits())),
        };
        let chunks = scorer.ids.len().div_ceil(chunk);
        if chunks <= RESIDENT {
            scorer.resident = (0..chunks)
                .map(|c| scorer.upload_items(c))
                .collect::<Result<_, _>>()?;
        }
        Ok(scorer)
    }

    fn chunk_ids(&self, chunk: usize) -> &[u32] {
        let start = chunk * self.chunk;
        &self.ids[start..self.ids.len().min(start + self.chunk)]
    }

    fn upload_items(&self, chunk: usize) -> Result<wgpu::Buffer, ComputeError> {
        let ids = self.chunk_ids(chunk);
        let row = |place: usize| Some(self.items.row(*ids.get(place)? as usize));
        let places = ids.len().next_multiple_of(WIDTHS[0]);
        self.upload_panels("items", places, row)
    }

    /// The vectors `row` of `0..places`, `None` for padding, in panels `[depth, PANEL]`.
    fn upload_panels<'b>(
        &self,
        what: &'static str,
        places: usize,
        row: impl Fn(usize) -> Option<&'b [f32]> + Sync,
    ) -> Result<wgpu::Buffer, ComputeError> {
        let depth = self.depth;
        self.engine
            .upload_with(what, places * depth, |first, part| {
                for (line, values) in part.chunks_exact_mut(PANEL).enumerate() {
                    let line = first / PANEL + line;
                    let (panel, d) = (line / depth, line % depth);
                    for (i, value) in values.iter_mut().enumerate() {
                        let vector = row(panel * PANEL + i);
                        *value = vector.and_then(|v| v.get(d)).copied().unwrap_or(0.0);
                    }
                }
            })
    }

    /// Exclusions of some users of the query as packed places.
    fn exclusions(&self, query: &Query<'_>, users: Range<usize>) -> (Vec<u32>, Vec<u32>) {
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
    fn span(&self, query: &Query<'_>, start: usize, list_bytes: usize) -> usize {
        let limits = self.engine.limits();
        let panels = limits.binding_bytes as usize / (4 * self.depth * PANEL);
        let most = (limits.binding_bytes as usize / list_bytes)
            .min(panels.min(limits.groups as usize) * PANEL)
            .clamp(1, MOST_USERS);
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

    /// Lists of the users of a query that are `users`, of at most `k` items, onto `out`.
    fn lists(
        &self,
        query: &Query<'_>,
        users: Range<usize>,
        (k, shape): (usize, Shape),
        pipeline: &wgpu::ComputePipeline,
        out: &mut TopK,
    ) -> Result<(), ComputeError> {
        let engine = self.engine;
        let count = users.len();
        let (indptr, excluded) = self.exclusions(query, users.clone());
        let indptr = engine.upload("exclusion offsets", &indptr)?;
        let excluded = engine.upload("exclusions", &excluded)?;
        let vector = |place: usize| (place < count).then(|| query.users.row(users.start + place));
        let vectors = self.upload_panels("users", count.next_multiple_of(PANEL), vector)?;
        let lists = engine.zeroed("lists", (count * shape.list_bytes(k)) as u64)?;
        let lengths = engine.zeroed("list lengths", (8 * count) as u64)?;
        let most_span = shape.width * shape.tiles_within(engine.limits().iterations, self.depth);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let chunks = self.ids.len().div_ceil(self.chunk);
        for chunk in 0..chunks {
            let chunk_items = self.chunk_ids(chunk).len();
            let streamed;
            let items = match self.resident.get(chunk) {
                Some(items) => items,
                None => {
                    streamed = self.upload_items(chunk)?;
                    &streamed
                }
            };
            let mut at = 0;
            while at < chunk_items {
                let per_tile =
                    (2 * shape.width * self.depth * count.next_multiple_of(PANEL)) as f64;
                let span = (shape.width * (pace.budget() / per_tile).max(1.0) as usize)
                    .min(most_span)
                    .min(chunk_items - at);
                let end = at + span;
                let params = Params {
                    users: count as u32,
                    depth: self.depth as u32,
                    first_item: at as u32,
                    end_item: end as u32,
                    id_offset: (chunk * self.chunk) as u32,
                    k: k as u32,
                    floor_key: key_of(floor(query.min_score)),
                    fresh: u32::from(chunk == 0 && at == 0),
                    last: u32::from(chunk == chunks - 1 && end == chunk_items),
                };
                let spent = engine.dispatch(
                    "scoring items",
                    pipeline,
                    &params,
                    &[
                        (1, &vectors),
                        (2, items),
                        (3, &indptr),
                        (4, &excluded),
                        (5, &lists),
                        (6, &lengths),
                    ],
                    [count.div_ceil(PANEL) as u32, 1],
                )?;
                pace.learn(span as f64 / shape.width as f64 * per_tile, spent);
                at = end;
            }
        }
        let lengths: Vec<u32> = engine.read("reading list lengths", &lengths, 0, count)?;
        let first = count * shape.capacity;
        engine.read_with(
            "reading lists",
            &lists,
            first,
            k * count,
            |lists: &[[u32; 2]]| {
                for (list, &length) in lists.chunks_exact(k).zip(&lengths) {
                    out.push(
                        list[..length as usize]
                            .iter()
                            .map(|&[key, place]| (self.ids[place as usize], score_of(key))),
                    );
                }
            },
        )
    }
}

/// How a workgroup's shared memory is used.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Items scored at a time, and threads.
    width: usize,
    /// Candidates of a user at most, a power of two.
    capacity: usize,
    /// Lists sorted at a time, a power of two.
    sorted: usize,
}

impl Shape {
    /// The best for lists of `k` in `shared` bytes; the longest list possible where they are too few.
    fn new(shared: usize, k: usize) -> Result<Self, usize> {
        // Counters and thresholds take a part, and a candidate takes 8 bytes.
        let free = |width: usize| shared.saturating_sub(1024 + 4 * DEEP * (PANEL + width)) / 8;
        for width in WIDTHS {
            // Twice k where it fits: a list is then sorted less often.
            for candidates in [(2 * k).max(k + width), k + width] {
                let capacity = candidates.next_power_of_two();
                if capacity <= free(width) {
                    return Ok(Self {
                        width,
                        capacity,
                        sorted: 1 << (free(width) / capacity).min(8).ilog2(),
                    });
                }
            }
        }
        let narrow = WIDTHS[WIDTHS.len() - 1];
        Err((1usize << free(narrow).max(1).ilog2()).saturating_sub(narrow))
    }

    /// Candidates and the list of a user.
    fn list_bytes(self, k: usize) -> usize {
        8 * (self.capacity + k)
    }

    fn constants(self) -> [(&'static str, u32); 5] {
        [
            ("ITEMS", self.width as u32),
            ("RIGHT", (DEEP * self.width / 4) as u32),
            ("CAPACITY", self.capacity as u32),
            ("SORTED", self.sorted as u32),
            ("SLOTS", (self.sorted * self.capacity) as u32),
        ]
    }

    /// Tiles that a workgroup can pass within the adapter's loop iterations, were every list cut down at every tile and
    /// were every score looked up among the exclusions: see `score_topk.wgsl`.
    fn tiles_within(self, limit: u64, depth: usize) -> usize {
        let slots = (self.sorted * self.capacity).div_ceil(self.width) + 1;
        let stages = self.capacity.ilog2() as usize * (self.capacity.ilog2() as usize + 3) / 2;
        let compaction = PANEL / self.sorted * (1 + 2 * slots + stages * (slots + 1));
        let loads = DEEP * (PANEL + self.width) / 4 / self.width + 2;
        // A binary search has up to 32 steps.
        let tile = 1 + depth / DEEP * (1 + loads + DEEP) + 64 * 34 + compaction;
        (limit.saturating_sub(compaction as u64) / tile as u64).clamp(1, 1 << 24) as usize
    }
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
        let shape = Shape::new(engine.limits().shared_bytes as usize, k)
            .map_err(|most| engine.too_large("k", k as u64, most as u64))?;
        let kernel = Kernel {
            source: WGSL,
            entry: "score",
        };
        let pipeline = engine.pipeline(kernel, &shape.constants())?;
        let mut start = 0;
        while start < query.users.rows() {
            let end = self.span(query, start, shape.list_bytes(k));
            self.lists(query, start..end, (k, shape), &pipeline, &mut out)?;
            start = end;
        }
        Ok(out)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_fits_the_memory_that_it_is_for() {
        for shared in [16 << 10, 32 << 10, 48 << 10, 64 << 10] {
            for k in [1, 20, 100, 200, 500, 900] {
                let shape = Shape::new(shared, k).unwrap();
                let tile = 4 * DEEP * (PANEL + shape.width);
                assert!(
                    1024 + tile + 8 * shape.sorted * shape.capacity <= shared,
                    "{shape:?}"
                );
                assert!(shape.capacity >= k + shape.width, "{shape:?}");
                assert_eq!(PANEL % shape.sorted, 0);
            }
        }
        assert_eq!(Shape::new(16 << 10, 961).unwrap_err(), 960);
        assert_eq!(Shape::new(48 << 10, 10_000).unwrap_err(), 4032);
    }
}
