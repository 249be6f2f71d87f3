//! Sixteen-lane vectors, the same arithmetic in the same order on every instruction set.
//!
//! Kernels are written once, generic over [`F32x16`], and compiled once per instruction set by [`by_isa!`];
//! which copy runs is decided when the program starts. With fused multiply-add (all but [`Isa::Scalar`]) the
//! bits of a result do not depend on the instruction set.

#[cfg(target_arch = "aarch64")]
pub(crate) mod arm;
mod scalar;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

pub(crate) use scalar::Scalar;

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
