//! `score_topk` of tables whose rows are integers of 8 bits times a scale: inner products of integers, exact, then
//! `score = sum · scale of the item · scale of the user`. The bits do not depend on the instruction set, and a GPU, which
//! scores the same tables as 32-bit floats, agrees to rounding.
//!
//! Roofline: arithmetic. A word holds as many integers as an instruction multiplies and adds at once: four of 8 bits with
//! AVX-512 VNNI (4 times the products of `score_topk` per instruction), otherwise two of 16.

use super::score_topk::{Candidates, TopK, lists, offer_tile};
use crate::compute::aligned::{Aligned, LANES};
use crate::compute::simd::{F32x16, Isa, Scalar};
use crate::compute::{MatrixView, Query};
use rayon::prelude::*;

/// The largest integer of a row.
const MOST: f32 = 127.0;

/// How a processor multiplies integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// AVX-512 with vector neural network instructions: words of four.
    Vnni,
    /// AVX2: words of two.
    Avx2,
    /// Any processor: words of two.
    Plain,
}

impl Unit {
    /// The best one among those of `isa` that this processor has.
    pub fn of(isa: Isa) -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if isa == Isa::Avx512 && is_x86_feature_detected!("avx512vnni") {
                return Self::Vnni;
            }
            if matches!(isa, Isa::Avx512 | Isa::Avx2) && Isa::Avx2.is_available() {
                return Self::Avx2;
            }
        }
        let _ = isa;
        Self::Plain
    }

    /// Integers of a word; items of a panel; users of a tile.
    fn shape(self) -> (usize, usize, usize) {
        match self {
            Self::Vnni => (4, 2 * LANES, 12),
            Self::Avx2 => (2, LANES, 6),
            Self::Plain => (2, LANES, 4),
        }
    }

    /// Integers as a word of an item.
    fn word(self, values: &[i8]) -> u32 {
        let at = |n: usize| values.get(n).copied().unwrap_or(0);
        match self {
            Self::Vnni => u32::from_le_bytes([0, 1, 2, 3].map(|n| at(n) as u8)),
            Self::Avx2 | Self::Plain => {
                let halves = [0, 1].map(|n| u32::from(i16::from(at(n)) as u16));
                halves[0] | halves[1] << 16
            }
        }
    }

    /// Integers as a word of a user: VNNI multiplies by unsigned ones, so 128 is added there and taken off by [`Self::start`].
    fn user_word(self, values: &[i8]) -> u32 {
        match self {
            Self::Vnni => self.word(values) ^ 0x8080_8080,
            Self::Avx2 | Self::Plain => self.word(values),
        }
    }

    /// Where the sum of an item starts.
    fn start(self, item: &[i8]) -> i32 {
        match self {
            Self::Vnni => -128 * item.iter().map(|&n| i32::from(n)).sum::<i32>(),
            Self::Avx2 | Self::Plain => 0,
        }
    }
}

/// A row as integers, and what one of them is worth; `None` where it is no such row.
fn integers(row: &[f32], out: &mut [i8]) -> Option<f32> {
    let most = row.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let scale = most / MOST;
    if !row.iter().all(|x| x.is_finite()) {
        return None;
    }
    for (&x, out) in row.iter().zip(out) {
        #[allow(clippy::cast_possible_truncation)] // 127 at most
        let n = if scale == 0.0 {
            0
        } else {
            (x / scale).round() as i8
        };
        if f32::from(n) * scale != x {
            return None;
        }
        *out = n;
    }
    Some(scale)
}

/// Items packed for the register tile: `[panels, words, width]`.
pub(crate) struct Panels {
    unit: Unit,
    dim: usize,
    words: Vec<Aligned>,
    /// What an item's integers are worth, and where its sum starts, beside `ids`, filled up with zeros.
    scales: Aligned,
    starts: Vec<i32>,
    ids: Vec<u32>,
}

impl Panels {
    /// Packs the rows `ids` (ascending) of `items`; `None` where a row of the table is not one of integers.
    pub fn new(unit: Unit, items: MatrixView<'_>, ids: &[u32]) -> Option<Self> {
        let dim = items.cols();
        let (per_word, width, _) = unit.shape();
        let packed: Vec<(Aligned, Vec<f32>, Vec<i32>)> = ids
            .par_chunks(width)
            .map(|ids| {
                let mut words = Aligned::zeros(dim.div_ceil(per_word) * width);
                let (mut scales, mut starts) = (vec![0.0; width], vec![0; width]);
                let mut row = vec![0i8; dim];
                for (lane, &id) in ids.iter().enumerate() {
                    scales[lane] = integers(items.row(id as usize), &mut row)?;
                    starts[lane] = unit.start(&row);
                    for (q, values) in row.chunks(per_word).enumerate() {
                        words.floats_mut()[q * width + lane] = f32::from_bits(unit.word(values));
                    }
                }
                Some((words, scales, starts))
            })
            .collect::<Option<_>>()?;
        let mut out = Self {
            unit,
            dim,
            words: vec![],
            scales: Aligned::zeros(packed.len() * width),
            starts: vec![],
            ids: ids.to_vec(),
        };
        for (p, (words, scales, starts)) in packed.into_iter().enumerate() {
            out.words.push(words);
            out.scales.floats_mut()[p * width..][..width].copy_from_slice(&scales);
            out.starts.extend(starts);
        }
        Some(out)
    }
}

/// The lists of the query's users; `None` where a user's row is not one of integers.
pub(crate) fn cpu(panels: &Panels, query: &Query<'_>) -> Option<TopK> {
    let dim = panels.dim;
    let mut values = vec![0i8; query.users.rows() * dim];
    let mut scales = vec![0.0f32; query.users.rows()];
    if dim > 0 {
        values
            .par_chunks_mut(dim)
            .zip(&mut scales)
            .enumerate()
            .with_min_len(256)
            .try_for_each(|(user, (out, scale))| {
                *scale = integers(query.users.row(user), out)?;
                Some(())
            })?;
    }
    Some(lists(query, panels.ids.len(), |range, k| {
        let (per_word, _, height) = panels.unit.shape();
        let words = dim.div_ceil(per_word);
        // [tiles, words, height], users beyond the last are zeros.
        let mut tiles = vec![0u32; range.len().next_multiple_of(height) * words];
        for (i, user) in range.clone().enumerate() {
            let tile = i / height * height * words;
            for (q, some) in values[user * dim..(user + 1) * dim]
                .chunks(per_word)
                .enumerate()
            {
                tiles[tile + q * height + i % height] = panels.unit.user_word(some);
            }
        }
        let mut users = Candidates::of(query, range.clone(), k);
        let scales = &scales[range];
        // SAFETY: `Unit::of` asked the processor, and tiles and panels are whole.
        unsafe {
            match panels.unit {
                #[cfg(target_arch = "x86_64")]
                Unit::Vnni => x86::vnni(panels, &tiles, scales, &mut users),
                #[cfg(target_arch = "x86_64")]
                Unit::Avx2 => x86::avx2(panels, &tiles, scales, &mut users),
                _ => score_block::<Plain, 4, 1>(panels, &tiles, scales, &mut users),
            }
        }
        users.into_iter().map(Candidates::finish).collect()
    }))
}

/// Sixteen sums of products.
///
/// # Safety
/// The processor must have the instructions of the implementation, and pointers must be valid for sixteen values.
trait Sums: Copy {
    type Floats: F32x16;
    unsafe fn load(from: *const i32) -> Self;
    /// Adds to each lane the products of the integers of `user` with those of the lane's word.
    unsafe fn add_products(self, user: u32, items: *const f32) -> Self;
    unsafe fn floats(self) -> Self::Floats;
}

#[inline(always)]
unsafe fn score_block<S: Sums, const MR: usize, const NV: usize>(
    panels: &Panels,
    tiles: &[u32],
    scales: &[f32],
    users: &mut [Candidates<'_>],
) {
    let (per_word, width, height) = panels.unit.shape();
    assert!(width == NV * LANES && height == MR);
    let words = panels.dim.div_ceil(per_word);
    assert!(tiles.len() >= users.len().next_multiple_of(MR) * words);
    for (p, ids) in panels.ids.chunks(width).enumerate() {
        let items = panels.words[p].floats();
        let item_scales = &panels.scales.floats()[p * width..][..width];
        let starts = &panels.starts[p * width..][..width];
        assert!(items.len() >= words * width);
        for (t, users) in users.chunks_mut(MR).enumerate() {
            // SAFETY: a tile has `words * MR` words and a panel `words * width`; the instruction set is the caller's.
            unsafe {
                let tile = tiles.as_ptr().add(t * MR * words);
                let start: [S; NV] =
                    std::array::from_fn(|v| S::load(starts.as_ptr().add(v * LANES)));
                let mut sums = [start; MR];
                for q in 0..words {
                    for (m, sums) in sums.iter_mut().enumerate() {
                        let user = *tile.add(q * MR + m);
                        for (v, sum) in sums.iter_mut().enumerate() {
                            *sum = sum.add_products(user, items.as_ptr().add((q * NV + v) * LANES));
                        }
                    }
                }
                let mut scores = [[S::Floats::splat(0.0); NV]; MR];
                for (m, (scores, sums)) in scores.iter_mut().zip(sums).enumerate() {
                    // Users beyond the last are zeros.
                    let user = S::Floats::splat(scales.get(t * MR + m).copied().unwrap_or(0.0));
                    for (v, (score, sum)) in scores.iter_mut().zip(sums).enumerate() {
                        let item = S::Floats::load(item_scales.as_ptr().add(v * LANES));
                        *score = sum.floats().mul(item).mul(user);
                    }
                }
                offer_tile(users, &scores, ids);
            }
        }
    }
}

/// Plain arrays.
#[derive(Clone, Copy)]
struct Plain([i32; LANES]);

impl Sums for Plain {
    type Floats = Scalar;
    #[inline(always)]
    unsafe fn load(from: *const i32) -> Self {
        // SAFETY: the caller vouches for sixteen integers.
        unsafe { Self(from.cast::<[i32; LANES]>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn add_products(mut self, user: u32, items: *const f32) -> Self {
        // SAFETY: the caller vouches for sixteen words.
        let words = unsafe { items.cast::<[u32; LANES]>().read_unaligned() };
        let low = |word: u32| i32::from(word as u16 as i16);
        let high = |word: u32| i32::from((word >> 16) as u16 as i16);
        for (sum, word) in self.0.iter_mut().zip(words) {
            *sum += low(user) * low(word) + high(user) * high(word);
        }
        self
    }
    #[inline(always)]
    unsafe fn floats(self) -> Scalar {
        let floats = self.0.map(|n| n as f32);
        // SAFETY: an array of sixteen.
        unsafe { Scalar::load(floats.as_ptr()) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! AVX2 and AVX-512 with VNNI.
    use super::{Candidates, LANES, Panels, Sums, score_block};
    use crate::compute::simd::F32x16;
    use crate::compute::simd::x86 as floats;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2(
        panels: &Panels,
        tiles: &[u32],
        scales: &[f32],
        users: &mut [Candidates<'_>],
    ) {
        // SAFETY: the features are enabled here; the caller vouches for the rest.
        unsafe { score_block::<Avx2, 6, 1>(panels, tiles, scales, users) }
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn vnni(
        panels: &Panels,
        tiles: &[u32],
        scales: &[f32],
        users: &mut [Candidates<'_>],
    ) {
        // SAFETY: the features are enabled here; the caller vouches for the rest.
        unsafe { score_block::<Vnni, 12, 2>(panels, tiles, scales, users) }
    }

    #[derive(Clone, Copy)]
    struct Avx2(__m256i, __m256i);

    // SAFETY (all blocks): the trait's contract gives the instruction set and valid pointers.
    impl Sums for Avx2 {
        type Floats = floats::Avx2;
        #[inline(always)]
        unsafe fn load(from: *const i32) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen values behind a pointer.
            unsafe {
                Self(
                    _mm256_loadu_si256(from.cast()),
                    _mm256_loadu_si256(from.add(8).cast()),
                )
            }
        }
        #[inline(always)]
        unsafe fn add_products(self, user: u32, items: *const f32) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen values behind a pointer.
            unsafe {
                let user = _mm256_set1_epi32(user.cast_signed());
                let low = _mm256_madd_epi16(user, _mm256_loadu_si256(items.cast()));
                let high = _mm256_madd_epi16(user, _mm256_loadu_si256(items.add(8).cast()));
                Self(
                    _mm256_add_epi32(self.0, low),
                    _mm256_add_epi32(self.1, high),
                )
            }
        }
        #[inline(always)]
        unsafe fn floats(self) -> floats::Avx2 {
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                let mut lanes = [0.0f32; LANES];
                _mm256_storeu_ps(lanes.as_mut_ptr(), _mm256_cvtepi32_ps(self.0));
                _mm256_storeu_ps(lanes.as_mut_ptr().add(8), _mm256_cvtepi32_ps(self.1));
                floats::Avx2::load(lanes.as_ptr())
            }
        }
    }

    #[derive(Clone, Copy)]
    struct Vnni(__m512i);

    impl Sums for Vnni {
        type Floats = floats::Avx512;
        #[inline(always)]
        unsafe fn load(from: *const i32) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen values behind a pointer.
            unsafe { Self(_mm512_loadu_si512(from.cast())) }
        }
        #[inline(always)]
        unsafe fn add_products(self, user: u32, items: *const f32) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen values behind a pointer.
            unsafe {
                let user = _mm512_set1_epi32(user.cast_signed());
                Self(_mm512_dpbusd_epi32(
                    self.0,
                    user,
                    _mm512_loadu_si512(items.cast()),
                ))
            }
        }
        #[inline(always)]
        unsafe fn floats(self) -> floats::Avx512 {
            // SAFETY: the caller vouches for the instruction set.
            unsafe {
                let mut lanes = [0.0f32; LANES];
                _mm512_storeu_ps(lanes.as_mut_ptr(), _mm512_cvtepi32_ps(self.0));
                floats::Avx512::load(lanes.as_ptr())
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::{csr, matrix};
    use crate::compute::{CpuDevice, Device, Matrix};
    use crate::model::compress::Numbers;

    fn coarse(rows: usize, cols: usize, seed: u64) -> Matrix {
        Numbers::Int8.coarsen(&matrix(rows, cols, seed)).unwrap()
    }

    fn query(users: MatrixView<'_>) -> Query<'_> {
        Query {
            users,
            exclude: None,
            first_user: 0,
            min_score: None,
            k: 9,
        }
    }

    fn units() -> Vec<Unit> {
        let mut found: Vec<Unit> = [Isa::Avx512, Isa::Avx2, Isa::Scalar].map(Unit::of).into();
        found.dedup();
        found
    }

    #[test]
    fn scores_are_the_exact_sums_times_both_scales_on_every_unit() {
        for dim in [1, 2, 3, 4, 7, 16, 33] {
            let (mut users, items) = (coarse(29, dim, 1), coarse(83, dim, 2));
            users.data_mut()[dim..2 * dim].fill(0.0);
            let ids: Vec<u32> = (0..83).filter(|id| id % 5 != 2).collect();
            let exact = |user: usize, item: u32| {
                let (mut x, mut y) = (vec![0; dim], vec![0; dim]);
                let a = integers(users.row(user), &mut x).unwrap();
                let b = integers(items.row(item as usize), &mut y).unwrap();
                let pairs = x.iter().zip(&y);
                let sum: i32 = pairs.map(|(&x, &y)| i32::from(x) * i32::from(y)).sum();
                sum as f32 * b * a
            };
            for unit in units() {
                let panels = Panels::new(unit, items.view(), &ids).unwrap();
                let found = cpu(&panels, &query(users.view())).unwrap();
                for user in 0..29 {
                    let mut wanted: Vec<(u32, f32)> =
                        ids.iter().map(|&id| (id, exact(user, id))).collect();
                    wanted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                    let (items, scores) = found.row(user);
                    let found: Vec<_> = items.iter().copied().zip(scores.iter().copied()).collect();
                    if user != 1 {
                        assert_eq!(found, wanted[..9], "{unit:?}, {dim} dimensions");
                    }
                }
            }
        }
    }

    #[test]
    fn a_device_gives_what_floats_give_to_rounding() {
        let (users, items) = (coarse(150, 20, 3), coarse(400, 20, 4));
        let exclude = csr(150, 400, 20, 5);
        let query = Query {
            exclude: Some(&exclude),
            min_score: Some(0.1),
            ..query(users.view())
        };
        let found = CpuDevice::new()
            .scorer(items.view(), None)
            .unwrap()
            .top_k(&query)
            .unwrap();
        let floats =
            super::super::score_topk::Panels::new(Isa::detect(), items.view(), (0..400).collect());
        let wanted = super::super::score_topk::cpu(&floats, &query);
        for user in 0..150 {
            let (a, b) = (found.row(user), wanted.row(user));
            assert_eq!(a.0.len(), b.0.len());
            for (a, b) in a.1.iter().zip(b.1) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
    }

    #[test]
    fn other_tables_are_left_to_floats() {
        let (fine, items) = (matrix(9, 6, 1), coarse(40, 6, 2));
        let ids: Vec<u32> = (0..40).collect();
        for unit in units() {
            assert!(Panels::new(unit, matrix(40, 6, 2).view(), &ids).is_none());
            let panels = Panels::new(unit, items.view(), &ids).unwrap();
            assert!(cpu(&panels, &query(fine.view())).is_none());
        }
        let mut broken = items.clone();
        broken.data_mut()[3] = f32::NAN;
        assert!(Panels::new(Unit::Plain, broken.view(), &ids).is_none());
        // The device has both ways.
        let device = CpuDevice::new();
        let scorer = device.scorer(items.view(), None).unwrap();
        let found = scorer.top_k(&query(fine.view())).unwrap();
        let dot = |user: usize, item: u32| -> f32 {
            let pairs = fine.row(user).iter().zip(items.row(item as usize));
            pairs.map(|(x, y)| x * y).sum()
        };
        let (first, score) = (found.row(4).0[0], found.row(4).1[0]);
        assert!((dot(4, first) - score).abs() < 1e-5);
    }
}
