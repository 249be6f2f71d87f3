//! How the numbers of a vector are stored: 32-bit floats, 16-bit floats, or 8-bit integers with a scale per row.
//!
//! A coarser table is kept as the 32-bit floats that its numbers stand for, and nothing is lost on the way to the file and
//! back: coarsening a second time changes nothing. For `int8` that takes a scale of 17 significant bits, since a product
//! with an integer of at most 127 then has no more than the 24 that a float holds.

use super::super::ModelError;
use crate::compute::Matrix;
use arrow::datatypes::{ArrowPrimitiveType, Float16Type};
use rayon::prelude::*;

/// IEEE 754 binary16.
type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// The largest integer; the range is symmetric, so that a vector and its negative are stored alike.
pub const MOST: f32 = 127.0;

/// A number format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Numbers {
    /// IEEE 754 binary32, as training gives them.
    #[default]
    F32,
    /// IEEE 754 binary16.
    F16,
    /// Integers from -127 to 127, times a scale of their row.
    Int8,
}

impl Numbers {
    /// The name in pipeline files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Int8 => "int8",
        }
    }

    /// Rounds every value of `table` to the nearest that this format has, half to even. Rows of zeros stay so.
    ///
    /// # Errors
    /// A value that is not finite, or beyond the format's range.
    pub fn coarsen(self, table: &Matrix) -> Result<Matrix, ModelError> {
        let mut out = table.clone();
        let cols = table.cols().max(1);
        if self != Self::F32 {
            out.data_mut()
                .par_chunks_mut(cols)
                .with_min_len(1024)
                .for_each(|row| self.coarsen_row(row));
        }
        match out.data().iter().position(|value| !value.is_finite()) {
            None => Ok(out),
            Some(at) => Err(ModelError::Compression(format!(
                "row {} holds {:e}, which {} cannot hold",
                at / cols,
                table.data()[at],
                self.name()
            ))),
        }
    }

    fn coarsen_row(self, row: &mut [f32]) {
        match self {
            Self::F32 => {}
            Self::F16 => row.iter_mut().for_each(|x| *x = F16::from_f32(*x).to_f32()),
            Self::Int8 => match scale(row) {
                Some(scale) => row
                    .iter_mut()
                    .for_each(|x| *x = f32::from(integer(*x, scale)) * scale),
                // Left as they are, to be found by the caller.
                None => row.fill(f32::NAN),
            },
        }
    }
}

/// What an integer of the row is worth: its largest value over 127, up to 17 significant bits; `None` for a row with a value
/// that is not finite. It is 0 for a row of zeros, and for one of nothing above 1.5e-36, since smaller scales have fewer bits.
pub fn scale(row: &[f32]) -> Option<f32> {
    const DROPPED: u32 = (1 << 7) - 1;
    if row.iter().any(|x| !x.is_finite()) {
        return None;
    }
    let most = row.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    if most / MOST < f32::MIN_POSITIVE {
        return Some(0.0);
    }
    let bits = (most / MOST).to_bits();
    Some(f32::from_bits((bits + DROPPED) & !DROPPED))
}

/// The integer nearest to `x / scale`, half to even.
pub fn integer(x: f32, scale: f32) -> i8 {
    if scale == 0.0 {
        return 0;
    }
    // The quotient of two floats is never rounded onto a half in 64 bits.
    let nearest = (f64::from(x) / f64::from(scale)).round_ties_even();
    #[allow(clippy::cast_possible_truncation)] // clamped
    let nearest = nearest.clamp(-127.0, 127.0) as i8;
    nearest
}

/// The bytes of 16-bit floats, little-endian.
pub fn to_f16(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|&x| F16::from_f32(x).to_le_bytes())
        .collect()
}

/// What [`to_f16`] wrote.
pub fn from_f16(bytes: &[u8]) -> Vec<f32> {
    let halves = bytes.as_chunks().0.iter();
    halves.map(|&b| F16::from_le_bytes(b).to_f32()).collect()
}

/// The integers of a table, `[rows, cols]`, and the scale of each row. A row that is not finite counts as zeros.
pub fn to_int8(table: &Matrix) -> (Vec<i8>, Vec<f32>) {
    let scales: Vec<f32> = (0..table.rows())
        .map(|row| scale(table.row(row)).unwrap_or(0.0))
        .collect();
    let rows = scales.iter().enumerate();
    let integers =
        rows.flat_map(|(row, &scale)| table.row(row).iter().map(move |&x| integer(x, scale)));
    (integers.collect(), scales)
}

/// The values that [`to_int8`]'s integers stand for.
pub fn from_int8(integers: &[i8], scales: &[f32], cols: usize) -> Vec<f32> {
    let rows = integers.chunks_exact(cols.max(1)).zip(scales);
    rows.flat_map(|(row, &scale)| row.iter().map(move |&n| f32::from(n) * scale))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::testing::matrix;
    use proptest::prelude::*;

    fn table(values: Vec<f32>) -> Matrix {
        Matrix::new(1, values.len(), values).unwrap()
    }

    proptest! {
        #[test]
        fn an_integer_is_off_by_half_a_step_at_most(values in prop::collection::vec(-1e6f32..1e6, 1..40)) {
            let step = scale(&values).unwrap();
            let coarse = Numbers::Int8.coarsen(&table(values.clone())).unwrap();
            for (x, y) in values.iter().zip(coarse.data()) {
                let off = (f64::from(*x) - f64::from(*y)).abs();
                prop_assert!(off <= f64::from(step) / 2.0, "{x} became {y} with steps of {step}");
            }
        }

        #[test]
        fn coarsening_again_changes_nothing(values in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO, 1..40)) {
            for numbers in [Numbers::F32, Numbers::F16, Numbers::Int8] {
                // Values near the end of the range may be refused.
                if let Ok(once) = numbers.coarsen(&table(values.clone())) {
                    prop_assert_eq!(&numbers.coarsen(&once).unwrap(), &once);
                }
            }
        }

        #[test]
        fn a_coarse_table_is_the_same_after_it_was_stored(values in prop::collection::vec(-1e4f32..1e4, 12)) {
            let fine = Matrix::new(3, 4, values).unwrap();
            let coarse = Numbers::Int8.coarsen(&fine).unwrap();
            let (integers, scales) = to_int8(&coarse);
            prop_assert_eq!(from_int8(&integers, &scales, 4), coarse.data());
            let coarse = Numbers::F16.coarsen(&fine).unwrap();
            prop_assert_eq!(from_f16(&to_f16(coarse.data())), coarse.data());
        }
    }

    #[test]
    fn halves_go_to_the_even_neighbour() {
        // The largest value makes the step exactly 2.
        let coarse = Numbers::Int8
            .coarsen(&table(vec![254.0, 1.0, 3.0, -1.0, -3.0, 5.0]))
            .unwrap();
        assert_eq!(coarse.data(), [254.0, 0.0, 4.0, 0.0, -4.0, 4.0]);
        // Between 2048 and 4096 a 16-bit float has even numbers alone.
        let coarse = Numbers::F16
            .coarsen(&table(vec![2049.0, 2051.0, -2049.0]))
            .unwrap();
        assert_eq!(coarse.data(), [2048.0, 2052.0, -2048.0]);
    }

    #[test]
    fn rows_of_zeros_stay_zero() {
        for numbers in [Numbers::F32, Numbers::F16, Numbers::Int8] {
            let mut fine = matrix(3, 5, 1);
            fine.data_mut()[5..10].fill(0.0);
            let coarse = numbers.coarsen(&fine).unwrap();
            assert_eq!(coarse.row(1), [0.0; 5]);
            assert!(coarse.row(0).iter().any(|x| *x != 0.0));
        }
        assert_eq!(scale(&[0.0, -0.0]), Some(0.0));
    }

    #[test]
    fn what_a_format_cannot_hold_is_refused_with_its_row() {
        for numbers in [Numbers::F32, Numbers::F16, Numbers::Int8] {
            for wrong in [f32::NAN, f32::INFINITY] {
                let mut fine = matrix(3, 5, 1);
                fine.data_mut()[7] = wrong;
                let error = numbers.coarsen(&fine).unwrap_err().to_string();
                assert!(error.contains("row 1"), "{error}");
            }
        }
        let error = Numbers::F16
            .coarsen(&table(vec![1.0, 70_000.0]))
            .unwrap_err();
        assert!(
            error.to_string().contains("7e4, which f16 cannot hold"),
            "{error}"
        );
    }

    #[test]
    fn formats_are_named_in_small_letters() {
        for numbers in [Numbers::F32, Numbers::F16, Numbers::Int8] {
            let json = format!("\"{}\"", numbers.name());
            assert_eq!(serde_json::from_str::<Numbers>(&json).unwrap(), numbers);
        }
        let error = serde_json::from_str::<Numbers>("\"int4\"").unwrap_err();
        assert!(
            error.to_string().contains("`f32`, `f16`, `int8`"),
            "{error}"
        );
    }
}
