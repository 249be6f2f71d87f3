//! The best k items of many users on the CPU, twin of `score_topk.wgsl`.
//!
//! Roofline: 2·users·items·dim flops: bound by arithmetic. Items are packed into panels of one or two vectors, users into
//! tiles of `MR`; a register tile accumulates over the dimensions in order and is compared with each user's threshold
//! before anything is stored, so scores never reach memory. A panel stays in the first-level cache while a block of users
//! passes it.
//!
//! Candidates are 64-bit keys, ascending in the order of a list (score descending, item ascending). A full buffer is cut
//! to its best k, which raises the threshold; nothing that belongs in a list is dropped.

use crate::compute::aligned::{Aligned, LANES};
use crate::compute::simd::{F32x16, Isa, by_isa};
use crate::compute::{MatrixView, Query};
use rayon::prelude::*;

/// The GPU's kernel: `score`.
pub const WGSL: &str = include_str!("score_topk.wgsl");

/// What the shader reads: see `score_topk.wgsl`.
#[derive(Debug, Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Params {
    pub users: u32,
    pub depth: u32,
    pub first_item: u32,
    pub end_item: u32,
    pub id_offset: u32,
    pub k: u32,
    pub floor_key: u32,
    pub fresh: u32,
    pub last: u32,
}

/// Ranked lists, one per user: order (score descending, item ascending).
#[derive(Debug, Clone, PartialEq)]
pub struct TopK {
    offsets: Vec<usize>,
    items: Vec<u32>,
    scores: Vec<f32>,
}

impl Default for TopK {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            items: Vec::new(),
            scores: Vec::new(),
        }
    }
}

impl TopK {
    /// Appends a user's list, best first.
    pub fn push(&mut self, list: impl IntoIterator<Item = (u32, f32)>) {
        for (item, score) in list {
            self.items.push(item);
            self.scores.push(score);
        }
        self.offsets.push(self.items.len());
    }

    /// Number of lists.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Items and scores of one list, best first.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.offsets[row]..self.offsets[row + 1];
        (&self.items[range.clone()], &self.scores[range])
    }

    /// `[rows + 1]` offsets into [`TopK::items`] and [`TopK::scores`].
    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    /// All items, list after list.
    pub fn items(&self) -> &[u32] {
        &self.items
    }

    /// All scores beside [`TopK::items`].
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }
}

/// An integer that ascends with the score; -0 and 0 are equal, NaN is 0, below everything.
pub(crate) fn key_of(score: f32) -> u32 {
    if score.is_nan() {
        return 0;
    }
    let bits = (score + 0.0).to_bits();
    if bits >> 31 == 1 {
        !bits
    } else {
        bits | 0x8000_0000
    }
}

/// The score of a key that is not 0.
pub(crate) fn score_of(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 {
        key & 0x7fff_ffff
    } else {
        !key
    })
}

/// The score that must be exceeded for a minimum to be reached.
pub(crate) fn floor(min_score: Option<f32>) -> f32 {
    min_score.map_or(f32::NEG_INFINITY, f32::next_down)
}

/// Items packed for the register tile.
pub(crate) struct Panels {
    isa: Isa,
    dim: usize,
    /// Items of a panel.
    width: usize,
    /// Users of a tile.
    height: usize,
    /// `[panels, dim, width]`.
    data: Aligned,
    /// Item of each packed place, ascending.
    ids: Vec<u32>,
}

impl Panels {
    /// Packs the rows `ids` (ascending) of `items`.
    pub fn new(isa: Isa, items: MatrixView<'_>, ids: Vec<u32>) -> Self {
        let (mut width, mut height) = (0, 0);
        {
            let (width, height) = (&mut width, &mut height);
            by_isa!(isa, tile_shape(width: &mut usize, height: &mut usize));
        }
        let dim = items.cols();
        let mut data = Aligned::zeros(ids.len().div_ceil(width) * width * dim);
        data.floats_mut()
            .par_chunks_mut((width * dim).max(1))
            .zip(ids.par_chunks(width))
            .for_each(|(panel, ids)| {
                for (lane, &id) in ids.iter().enumerate() {
                    for (q, &value) in items.row(id as usize).iter().enumerate() {
                        panel[q * width + lane] = value;
                    }
                }
            });
        Self {
            isa,
            dim,
            width,
            height,
            data,
            ids,
        }
    }
}

unsafe fn tile_shape<V: F32x16, const MR: usize, const NV: usize>(
    width: &mut usize,
    height: &mut usize,
) {
    *width = NV * LANES;
    *height = MR;
}

/// Users that pass a panel while it is in cache: a multiple of every tile height (4, 6, 12).
const BLOCK: usize = 96;

pub(crate) fn cpu(panels: &Panels, query: &Query<'_>) -> TopK {
    lists(query, panels.ids.len(), |range, k| {
        select_block(panels, query, range, k)
    })
}

/// The lists of all users, of whom `select(range, k)` lists a block, out of `items` items.
pub(crate) fn lists(
    query: &Query<'_>,
    items: usize,
    select: impl Fn(std::ops::Range<usize>, usize) -> Vec<Vec<u64>> + Sync,
) -> TopK {
    let users = query.users.rows();
    let k = query.k.min(items);
    let mut out = TopK::default();
    if k == 0 {
        (0..users).for_each(|_| out.push([]));
        return out;
    }
    // Smaller blocks when there are few users, so that every thread has some. Lists do not depend on it.
    let block = (users / (4 * rayon::current_num_threads()))
        .next_multiple_of(12)
        .clamp(12, BLOCK);
    let blocks: Vec<Vec<Vec<u64>>> = (0..users.div_ceil(block))
        .into_par_iter()
        .map(|b| select(b * block..((b + 1) * block).min(users), k))
        .collect();
    out.offsets.reserve(users);
    out.items.reserve(users * k);
    out.scores.reserve(users * k);
    for list in blocks.iter().flatten() {
        out.push(
            list.iter()
                .map(|&key| (key as u32, score_of(!(key >> 32) as u32))),
        );
    }
    out
}

/// A user's candidates so far.
pub(crate) struct Candidates<'a> {
    /// `!key_of(score) << 32 | item`: ascending in the order of the list.
    keys: Vec<u64>,
    /// Scores must be greater to be candidates.
    threshold: f32,
    /// What is left of the ascending items that the user must not get.
    excluded: &'a [u32],
    k: usize,
}

impl<'a> Candidates<'a> {
    /// No candidates yet, of each user of `range`.
    pub fn of(query: &Query<'a>, range: std::ops::Range<usize>, k: usize) -> Vec<Self> {
        range
            .map(|user| Self {
                keys: Vec::with_capacity(2 * k + 32),
                threshold: floor(query.min_score),
                excluded: query.excluded(user),
                k,
            })
            .collect()
    }

    /// Items come in ascending order, so one that only equals the threshold loses the tie.
    #[inline]
    fn offer(&mut self, item: u32, score: f32) {
        let passed = self.excluded.iter().take_while(|&&e| e < item).count();
        self.excluded = &self.excluded[passed..];
        if self.excluded.first() == Some(&item) || score <= self.threshold {
            return;
        }
        if self.keys.len() == self.keys.capacity() {
            self.compact();
            if score <= self.threshold {
                return;
            }
        }
        self.keys
            .push(u64::from(!key_of(score)) << 32 | u64::from(item));
    }

    fn compact(&mut self) {
        if self.keys.len() >= self.k {
            let (_, &mut last, _) = self.keys.select_nth_unstable(self.k - 1);
            self.keys.truncate(self.k);
            self.threshold = self.threshold.max(score_of(!(last >> 32) as u32));
        }
    }

    pub fn finish(mut self) -> Vec<u64> {
        self.compact();
        self.keys.sort_unstable();
        self.keys
    }
}

fn select_block(
    panels: &Panels,
    query: &Query<'_>,
    range: std::ops::Range<usize>,
    k: usize,
) -> Vec<Vec<u64>> {
    let (dim, height) = (panels.dim, panels.height);
    // [tiles, dim, height], users beyond the last are zeros.
    let mut tiles = Aligned::zeros(range.len().next_multiple_of(height) * dim);
    for (i, user) in range.clone().enumerate() {
        let tile = i / height * height * dim;
        for (q, &value) in query.users.row(user).iter().enumerate() {
            tiles.floats_mut()[tile + q * height + i % height] = value;
        }
    }
    let mut users = Candidates::of(query, range, k);
    let (isa, tiles, users_ref) = (panels.isa, tiles.floats(), &mut users[..]);
    assert!(tiles.len() >= users_ref.len().next_multiple_of(height) * dim);
    assert!(panels.data.floats().len() >= panels.ids.len().next_multiple_of(panels.width) * dim);
    by_isa!(
        isa,
        score_block(panels: &Panels, tiles: &[f32], users_ref: &mut [Candidates<'_>])
    );
    users.into_iter().map(Candidates::finish).collect()
}

#[inline(always)]
unsafe fn score_block<V: F32x16, const MR: usize, const NV: usize>(
    panels: &Panels,
    tiles: &[f32],
    users: &mut [Candidates<'_>],
) {
    let (dim, width) = (panels.dim, NV * LANES);
    let data = panels.data.floats();
    for (p, ids) in panels.ids.chunks(width).enumerate() {
        for (t, users) in users.chunks_mut(MR).enumerate() {
            // SAFETY: `select_block` has checked that every panel and tile is whole.
            let scores = unsafe {
                tile::<V, MR, NV>(
                    dim,
                    tiles.as_ptr().add(t * MR * dim),
                    data.as_ptr().add(p * width * dim),
                )
            };
            // SAFETY: the instruction set is the caller's.
            unsafe { offer_tile(users, &scores, ids) };
        }
    }
}

/// Offers a tile of scores, users × items, to the users' lists.
#[inline(always)]
pub(crate) unsafe fn offer_tile<V: F32x16, const MR: usize, const NV: usize>(
    users: &mut [Candidates<'_>],
    scores: &[[V; NV]; MR],
    ids: &[u32],
) {
    for (user, scores) in users.iter_mut().zip(scores) {
        // SAFETY: the instruction set is the caller's.
        let floor = unsafe { V::splat(user.threshold) };
        for (v, &vector) in scores.iter().enumerate() {
            // SAFETY: as above.
            let mut passing = unsafe { vector.greater(floor) };
            if passing != 0 {
                let mut lanes = [0.0f32; LANES];
                // SAFETY: `lanes` is one vector.
                unsafe { vector.store(lanes.as_mut_ptr()) };
                while passing != 0 {
                    let lane = passing.trailing_zeros() as usize;
                    passing &= passing - 1;
                    // The last panel may be filled up with zeros.
                    if let Some(&id) = ids.get(v * LANES + lane) {
                        user.offer(id, lanes[lane]);
                    }
                }
            }
        }
    }
}

/// `MR` users × `NV` vectors of items, summed over the dimensions in order.
#[inline(always)]
unsafe fn tile<V: F32x16, const MR: usize, const NV: usize>(
    dim: usize,
    users: *const f32,
    items: *const f32,
) -> [[V; NV]; MR] {
    // SAFETY: `users` holds `dim * MR` floats, `items` `dim * NV * LANES`.
    unsafe {
        let mut acc = [[V::splat(0.0); NV]; MR];
        for q in 0..dim {
            let mut y = [V::splat(0.0); NV];
            for (v, y) in y.iter_mut().enumerate() {
                *y = V::load(items.add((q * NV + v) * LANES));
            }
            for (m, acc) in acc.iter_mut().enumerate() {
                let x = V::splat(*users.add(q * MR + m));
                for (acc, y) in acc.iter_mut().zip(y) {
                    *acc = x.mul_add(y, *acc);
                }
            }
        }
        acc
    }
}
