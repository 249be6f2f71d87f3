//! Sixteen-lane vectors, the same arithmetic in the same order on every instruction set.
//!
//! Kernels are written once, generic over [`F32x16`], and compiled once per instruction set by [`by_isa!`];
//! which copy runs is decided when the program starts. With fused multiply-add (all but [`Isa::Scalar`]) the
//! bits of a result do not depend on the instruction set.

/// Instruction sets that the CPU kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// x86-64 with AVX-512F.
    Avx512,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// AArch64.
    Neon,
    /// Any processor.
    Scalar,
}

impl Isa {
    /// The best one that this processor has.
    pub fn detect() -> Self {
        [Self::Avx512, Self::Avx2, Self::Neon]
            .into_iter()
            .find(|isa| isa.is_available())
            .unwrap_or(Self::Scalar)
    }

    /// Whether this processor has it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true,
            Self::Scalar => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// Its usual name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Scalar => "scalar",
        }
    }
}

/// Sixteen `f32` lanes.
///
/// # Safety
/// The processor must have the instruction set of the implementation, and pointers must be valid for sixteen floats.
pub(crate) trait F32x16: Copy {
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self * a + b`.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn sqrt(self) -> Self;
    /// 2 to the power of lanes that are whole numbers from -126 to 127.
    unsafe fn pow2(self) -> Self;
    /// Halves are added until one lane is left.
    unsafe fn sum(self) -> f32;
    /// Bit `i` is set where lane `i` of `self` is greater.
    unsafe fn greater(self, other: Self) -> u32;
}

/// `e^x` to a few units in the last place, after Cephes' `expf`; below -87 it stays at `e^-87`, above 88 at `e^88`.
#[inline(always)]
pub(crate) unsafe fn exp<V: F32x16>(x: V) -> V {
    // SAFETY: the caller vouches for the instruction set.
    unsafe {
        let x = x.max(V::splat(-87.0)).min(V::splat(88.0));
        // Adding 1.5 · 2^23 rounds to a whole number.
        let magic = V::splat(12_582_912.0);
        let n = x
            .mul_add(V::splat(std::f32::consts::LOG2_E), magic)
            .sub(magic);
        let r = n.mul_add(V::splat(-0.693_359_4), x);
        let r = n.mul_add(V::splat(2.121_944_4e-4), r);
        let mut p = V::splat(1.987_569_1e-4);
        for c in [
            1.398_2e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
        ] {
            p = p.mul_add(r, V::splat(c));
        }
        p.mul_add(r.mul(r), r.add(V::splat(1.0))).mul(n.pow2())
    }
}

/// Asks for a cache line before it is needed; any address is fine.
#[inline(always)]
pub(crate) fn prefetch(line: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64, and a prefetch never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Plain arrays; multiply and add round apart.
#[derive(Clone, Copy)]
pub(crate) struct Scalar([f32; 16]);

impl F32x16 for Scalar {
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 16])
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for sixteen floats.
        unsafe { Self(from.cast::<[f32; 16]>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller vouches for sixteen floats.
        unsafe { to.cast::<[f32; 16]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * a.0[i] + b.0[i]))
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * other.0[i]))
    }
    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] / other.0[i]))
    }
    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].min(other.0[i])))
    }
    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i].max(other.0[i])))
    }
    #[inline(always)]
    unsafe fn sqrt(self) -> Self {
        Self(self.0.map(f32::sqrt))
    }
    #[inline(always)]
    unsafe fn pow2(self) -> Self {
        Self(
            self.0
                .map(|n| f32::from_bits(((n as i32 + 127) << 23) as u32)),
        )
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        let eight: [f32; 8] = std::array::from_fn(|i| self.0[i] + self.0[i + 8]);
        let four: [f32; 4] = std::array::from_fn(|i| eight[i] + eight[i + 4]);
        (four[0] + four[2]) + (four[1] + four[3])
    }
    #[inline(always)]
    unsafe fn greater(self, other: Self) -> u32 {
        (0..16).fold(0, |mask, i| mask | (u32::from(self.0[i] > other.0[i]) << i))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) mod x86 {
    //! AVX2 + FMA and AVX-512.
    use super::F32x16;
    use std::arch::x86_64::*;

    #[inline(always)]
    unsafe fn sum8(eight: __m256) -> f32 {
        // SAFETY: both instruction sets here include AVX.
        unsafe {
            let four = _mm_add_ps(
                _mm256_castps256_ps128(eight),
                _mm256_extractf128_ps::<1>(eight),
            );
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    #[inline(always)]
    unsafe fn pow2_8(eight: __m256) -> __m256 {
        // SAFETY: only used where AVX2 is.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(eight), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        }
    }

    /// Two AVX registers.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(__m256, __m256);

    // SAFETY (all blocks): the trait's contract gives the instruction set and valid pointers.
    impl F32x16 for Avx2 {
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm256_set1_ps(value), _mm256_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe {
                _mm256_storeu_ps(to, self.0);
                _mm256_storeu_ps(to.add(8), self.1);
            }
        }
        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe {
                Self(
                    _mm256_fmadd_ps(self.0, a.0, b.0),
                    _mm256_fmadd_ps(self.1, a.1, b.1),
                )
            }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe {
                Self(
                    _mm256_add_ps(self.0, other.0),
                    _mm256_add_ps(self.1, other.1),
                )
            }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe {
                Self(
                    _mm256_sub_ps(self.0, other.0),
                    _mm256_sub_ps(self.1, other.1),
                )
            }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe {
                Self(
                    _mm256_mul_ps(self.0, other.0),
                    _mm256_mul_ps(self.1, other.1),
                )
            }
        }
        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe {
                Self(
                    _mm256_div_ps(self.0, other.0),
                    _mm256_div_ps(self.1, other.1),
                )
            }
        }
        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe {
                Self(
                    _mm256_min_ps(self.0, other.0),
                    _mm256_min_ps(self.1, other.1),
                )
            }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe {
                Self(
                    _mm256_max_ps(self.0, other.0),
                    _mm256_max_ps(self.1, other.1),
                )
            }
        }
        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm256_sqrt_ps(self.0), _mm256_sqrt_ps(self.1)) }
        }
        #[inline(always)]
        unsafe fn pow2(self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(pow2_8(self.0), pow2_8(self.1)) }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { sum8(_mm256_add_ps(self.0, self.1)) }
        }
        #[inline(always)]
        unsafe fn greater(self, other: Self) -> u32 {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe {
                let low = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.0, other.0));
                let high = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(self.1, other.1));
                low as u32 | ((high as u32) << 8)
            }
        }
    }

    /// One AVX-512 register.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(__m512);

    // SAFETY (all blocks): the trait's contract gives the instruction set and valid pointers.
    impl F32x16 for Avx512 {
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm512_set1_ps(value)) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm512_loadu_ps(from)) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm512_fmadd_ps(self.0, a.0, b.0)) }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm512_add_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm512_sub_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm512_mul_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm512_div_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm512_min_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm512_max_ps(self.0, other.0)) }
        }
        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { Self(_mm512_sqrt_ps(self.0)) }
        }
        #[inline(always)]
        unsafe fn pow2(self) -> Self {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe {
                let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(self.0), _mm512_set1_epi32(127));
                Self(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent)))
            }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe {
                let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(self.0));
                sum8(_mm256_add_ps(
                    _mm512_castps512_ps256(self.0),
                    _mm256_castpd_ps(high),
                ))
            }
        }
        #[inline(always)]
        unsafe fn greater(self, other: Self) -> u32 {
            // SAFETY: the caller vouches for the instruction set, and for sixteen floats behind a pointer.
            unsafe { u32::from(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, other.0)) }
        }
    }
}

#[cfg(target_arch = "aarch64")]
pub(crate) mod arm {
    //! NEON.
    // Most NEON intrinsics are safe to call on AArch64, where every processor has them; the trait's methods are not.
    #![allow(unused_unsafe)]
    use super::F32x16;
    use std::arch::aarch64::*;

    /// Four NEON registers.
    #[derive(Clone, Copy)]
    pub(crate) struct Neon([float32x4_t; 4]);

    // SAFETY (all blocks): NEON is part of AArch64; the trait's contract gives valid pointers.
    impl F32x16 for Neon {
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { Self([vdupq_n_f32(value); 4]) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe {
                Self([
                    vld1q_f32(from),
                    vld1q_f32(from.add(4)),
                    vld1q_f32(from.add(8)),
                    vld1q_f32(from.add(12)),
                ])
            }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe {
                vst1q_f32(to, self.0[0]);
                vst1q_f32(to.add(4), self.0[1]);
                vst1q_f32(to.add(8), self.0[2]);
                vst1q_f32(to.add(12), self.0[3]);
            }
        }
        #[inline(always)]
        unsafe fn mul_add(self, a: Self, b: Self) -> Self {
            unsafe {
                Self([
                    vfmaq_f32(b.0[0], self.0[0], a.0[0]),
                    vfmaq_f32(b.0[1], self.0[1], a.0[1]),
                    vfmaq_f32(b.0[2], self.0[2], a.0[2]),
                    vfmaq_f32(b.0[3], self.0[3], a.0[3]),
                ])
            }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe {
                Self([
                    vaddq_f32(self.0[0], other.0[0]),
                    vaddq_f32(self.0[1], other.0[1]),
                    vaddq_f32(self.0[2], other.0[2]),
                    vaddq_f32(self.0[3], other.0[3]),
                ])
            }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { Self(std::array::from_fn(|i| vsubq_f32(self.0[i], other.0[i]))) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { Self(std::array::from_fn(|i| vmulq_f32(self.0[i], other.0[i]))) }
        }
        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            unsafe { Self(std::array::from_fn(|i| vdivq_f32(self.0[i], other.0[i]))) }
        }
        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            unsafe { Self(std::array::from_fn(|i| vminq_f32(self.0[i], other.0[i]))) }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            unsafe { Self(std::array::from_fn(|i| vmaxq_f32(self.0[i], other.0[i]))) }
        }
        #[inline(always)]
        unsafe fn sqrt(self) -> Self {
            unsafe { Self(self.0.map(|four| vsqrtq_f32(four))) }
        }
        #[inline(always)]
        unsafe fn pow2(self) -> Self {
            unsafe {
                Self(self.0.map(|four| {
                    let exponent = vaddq_s32(vcvtq_s32_f32(four), vdupq_n_s32(127));
                    vreinterpretq_f32_s32(vshlq_n_s32::<23>(exponent))
                }))
            }
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe {
                let four = vaddq_f32(
                    vaddq_f32(self.0[0], self.0[2]),
                    vaddq_f32(self.0[1], self.0[3]),
                );
                let two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
                vget_lane_f32::<0>(two) + vget_lane_f32::<1>(two)
            }
        }
        #[inline(always)]
        unsafe fn greater(self, other: Self) -> u32 {
            unsafe {
                let bits = vld1q_u32([1u32, 2, 4, 8].as_ptr());
                let mut mask = 0;
                let mut i = 0;
                while i < 4 {
                    let lanes = vandq_u32(vcgtq_f32(self.0[i], other.0[i]), bits);
                    mask |= vaddvq_u32(lanes) << (4 * i);
                    i += 1;
                }
                mask
            }
        }
    }
}

/// Calls `function::<V, MR, NV>(arguments)` compiled for an instruction set.
///
/// `V` is the vector, `MR` × `NV` the register tile of users × vectors of items that keeps the multiply-add
/// units busy without running out of registers. An instruction set that the processor lacks falls back to scalar code.
macro_rules! by_isa {
    ($isa:expr, $function:ident($($name:ident: $type:ty),* $(,)?)) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        #[allow(clippy::too_many_arguments)]
        unsafe fn avx512($($name: $type),*) {
            // SAFETY: the feature is enabled here; the caller vouches for the rest.
            unsafe { $function::<$crate::compute::simd::x86::Avx512, 12, 2>($($name),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma")]
        #[allow(clippy::too_many_arguments)]
        unsafe fn avx2($($name: $type),*) {
            // SAFETY: the features are enabled here; the caller vouches for the rest.
            unsafe { $function::<$crate::compute::simd::x86::Avx2, 6, 1>($($name),*) }
        }
        let isa: $crate::compute::simd::Isa = $isa;
        // SAFETY: the processor was asked whether it has the instruction set; the slices' lengths are checked by the caller.
        unsafe {
            match isa {
                #[cfg(target_arch = "x86_64")]
                $crate::compute::simd::Isa::Avx512 if isa.is_available() => avx512($($name),*),
                #[cfg(target_arch = "x86_64")]
                $crate::compute::simd::Isa::Avx2 if isa.is_available() => avx2($($name),*),
                #[cfg(target_arch = "aarch64")]
                $crate::compute::simd::Isa::Neon => {
                    $function::<$crate::compute::simd::arm::Neon, 6, 1>($($name),*)
                }
                _ => $function::<$crate::compute::simd::Scalar, 4, 1>($($name),*),
            }
        }
    }};
}
pub(crate) use by_isa;

#[cfg(test)]
mod tests {
    use super::*;

    unsafe fn exercise<V: F32x16, const MR: usize, const NV: usize>(
        a: &[f32; 16],
        b: &[f32; 16],
        sum: &mut f32,
        fused: &mut [f32; 16],
        mask: &mut u32,
    ) {
        // SAFETY: arrays of sixteen.
        unsafe {
            let (va, vb) = (V::load(a.as_ptr()), V::load(b.as_ptr()));
            *sum = va.add(V::splat(0.5)).sum();
            va.mul_add(vb, va).store(fused.as_mut_ptr());
            *mask = va.greater(vb);
        }
    }

    #[test]
    fn every_instruction_set_agrees() {
        let a: [f32; 16] = std::array::from_fn(|i| ((i * 37 % 16) as f32 - 7.3) * 1.37);
        let b: [f32; 16] = std::array::from_fn(|i| ((i * 11 % 16) as f32 - 8.1) * 0.91);
        let run = |isa: Isa| {
            let (mut sum, mut fused, mut mask) = (0.0f32, [0.0f32; 16], 0u32);
            {
                let (a, b, sum, fused, mask) = (&a, &b, &mut sum, &mut fused, &mut mask);
                by_isa!(
                    isa,
                    exercise(
                        a: &[f32; 16],
                        b: &[f32; 16],
                        sum: &mut f32,
                        fused: &mut [f32; 16],
                        mask: &mut u32,
                    )
                );
            }
            (sum, fused, mask)
        };
        let expected: u32 = (0..16).map(|i| u32::from(a[i] > b[i]) << i).sum();
        let scalar = run(Isa::Scalar);
        assert_eq!(scalar.2, expected);
        for isa in [Isa::Avx512, Isa::Avx2, Isa::Neon] {
            if isa.is_available() {
                let (sum, fused, mask) = run(isa);
                assert_eq!(sum.to_bits(), scalar.0.to_bits(), "{}", isa.name());
                assert_eq!(mask, expected);
                for i in 0..16 {
                    assert_eq!(
                        fused[i].to_bits(),
                        a[i].mul_add(b[i], a[i]).to_bits(),
                        "lane {i}"
                    );
                }
            }
        }
    }
}
