//! Distillation: a small student learns from the interactions and, beside them, from the lists of its large teacher.
//!
//! After Tang and Wang, *Ranking Distillation*, KDD 2018: the items that the teacher ranks first for a user count as
//! interactions of lesser weight. The student is any family with vectors, so that a costly teacher may have a cheap student.

use super::super::{Examples, Factors, Family, ModelError};
use crate::compute::{ComputeError, Device};
use crate::features::csr::Csr;
use crate::recommend::topk::{Filters, top_k};

/// What a student is and what it is taught.
#[derive(Debug, Clone, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Distil {
    /// Length of the student's vectors.
    pub dim: usize,
    /// Its family; by default the teacher's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// Its hyperparameters other than `dim`; of the teacher's family, over the teacher's own.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub params: toml::Table,
    /// Items of the teacher's list for each user that the student learns from; 0 teaches nothing.
    #[serde(default = "lists")]
    pub lists: usize,
    /// Weight of the first item of a list, as a share of the user's mean weight; the items after it count for less, down to
    /// none after the last.
    #[serde(default = "weight")]
    pub weight: f32,
}

fn lists() -> usize {
    50
}

fn weight() -> f32 {
    0.5
}

impl Distil {
    /// Names the first setting that is out of range.
    ///
    /// # Errors
    /// [`ModelError::Parameter`].
    pub fn validate(&self) -> Result<(), ModelError> {
        use super::super::params::{between, within};
        within("distil.dim", self.dim, 1, 1024)?;
        within("distil.lists", self.lists, 0, 1000)?;
        between("distil.weight", self.weight, 0.0, f32::INFINITY)
    }

    /// The interactions with the teacher's lists among them, and when they were. What the teacher adds is as old as the
    /// oldest interaction, so that nobody is judged by it.
    ///
    /// # Errors
    /// Those of the device.
    pub fn lessons(
        &self,
        device: &dyn Device,
        teacher: &Factors,
        examples: &Examples<'_>,
    ) -> Result<(Csr, Option<Vec<i64>>), ModelError> {
        let weights = examples.weights;
        let filters = Filters {
            exclude: Some(weights),
            k: self.lists,
            ..Filters::default()
        };
        let mut cells: Vec<(u32, u32, f32, i64)> = vec![];
        let oldest = examples.times.and_then(|times| times.iter().min().copied());
        let oldest = oldest.unwrap_or(0);
        let mut entry = 0;
        let mut next = |user: usize, list: &[u32]| {
            let row = u32::try_from(user).unwrap_or(u32::MAX);
            let (items, values) = weights.row(user);
            for (&item, &value) in items.iter().zip(values) {
                let time = examples.times.map_or(0, |times| times[entry]);
                cells.push((row, item, value, time));
                entry += 1;
            }
            let mean = values.iter().sum::<f32>() / values.len().max(1) as f32;
            for (rank, &item) in list.iter().enumerate() {
                let share = 1.0 - rank as f32 / self.lists as f32;
                let value = self.weight * mean * share;
                if value > 0.0 {
                    cells.push((row, item, value, oldest));
                }
            }
        };
        if self.lists == 0 {
            (0..weights.rows()).for_each(|user| next(user, &[]));
        } else {
            top_k::<ComputeError>(
                device,
                &teacher.users,
                &teacher.items,
                &filters,
                |first, lists| {
                    (0..lists.rows()).for_each(|row| next(first + row, lists.row(row).0));
                    Ok(())
                },
            )?;
        }
        // The order of the matrix, beside whose entries the times stand.
        cells.sort_unstable_by_key(|&(user, item, _, _)| (user, item));
        let triplets: Vec<_> = cells.iter().map(|&(u, i, w, _)| (u, i, w)).collect();
        let lessons = Csr::from_triplets(weights.rows(), weights.cols(), &triplets)
            .map_err(|error| ModelError::Interactions(error.to_string()))?;
        let times = examples
            .times
            .map(|_| cells.iter().map(|cell| cell.3).collect());
        Ok((lessons, times))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::CpuDevice;
    use crate::compute::testing::{csr, matrix};

    fn distil(text: &str) -> Distil {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn the_students_lessons_are_the_interactions_and_the_teachers_lists() {
        let weights = csr(20, 15, 4, 1);
        let times: Vec<i64> = (0..weights.nnz() as i64).map(|t| t + 100).collect();
        let teacher = Factors {
            users: matrix(20, 3, 1),
            items: matrix(15, 3, 2),
        };
        let examples = Examples {
            times: Some(&times),
            ..Examples::new(&weights)
        };
        let distil = distil("dim = 2\nlists = 3\nweight = 0.5");
        let (lessons, when) = distil
            .lessons(&CpuDevice::new(), &teacher, &examples)
            .unwrap();
        let when = when.unwrap();
        // Three users have nothing that a share could be of.
        assert_eq!(lessons.nnz(), weights.nnz() + 3 * 17);
        assert_eq!(when.len(), lessons.nnz());
        let mut entry = 0;
        for user in 0..20 {
            let (own, values) = weights.row(user);
            let mean = values.iter().sum::<f32>() / values.len().max(1) as f32;
            let mut taught = vec![];
            let (items, found) = lessons.row(user);
            for (item, value) in items.iter().zip(found) {
                match own.binary_search(item) {
                    Ok(at) => {
                        assert_eq!(*value, values[at]);
                        assert!(when[entry] >= 100);
                    }
                    Err(_) => {
                        taught.push(*value);
                        assert_eq!(when[entry], 100);
                    }
                }
                entry += 1;
            }
            taught.sort_by(|a, b| b.total_cmp(a));
            let shares = [0.5, 0.5 * 2.0 / 3.0, 0.5 / 3.0];
            for (value, share) in taught.iter().zip(shares) {
                assert!((value - share * mean).abs() < 1e-5, "{value} {share}");
            }
        }
    }

    #[test]
    fn without_lists_there_is_nothing_but_the_interactions() {
        let weights = csr(20, 15, 4, 1);
        let teacher = Factors {
            users: matrix(20, 3, 1),
            items: matrix(15, 3, 2),
        };
        let examples = Examples::new(&weights);
        let (lessons, times) = distil("dim = 2\nlists = 0")
            .lessons(&CpuDevice::new(), &teacher, &examples)
            .unwrap();
        assert_eq!((lessons, times), (weights, None));
    }

    #[test]
    fn settings_out_of_range_are_named() {
        for (text, wanted) in [
            ("dim = 0", "distil.dim = 0"),
            ("dim = 2000", "distil.dim = 2000"),
            ("dim = 2\nlists = 1001", "distil.lists = 1001"),
            ("dim = 2\nweight = -1", "distil.weight = -1"),
            ("dim = 2\nweight = nan", "distil.weight = NaN"),
        ] {
            let error = distil(text).validate().unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
        assert!(toml::from_str::<Distil>("dim = 2\nweigth = 1").is_err());
    }
}
