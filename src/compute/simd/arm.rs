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
