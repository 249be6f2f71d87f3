//! A fitted model against what a fold is judged by: lists of all items, and the place of the relevant ones in the whole
//! ranking.

use rayon::prelude::*;

use super::evaluation::{Evaluation, Judged};
use super::metric::auc;
use super::protocol::Test;
use crate::compute::{Device, Matrix};
use crate::error::{Error, Result};
use crate::model::Fitted;
use crate::model::popular::Popular;
use crate::recommend::topk::{BATCH, Filters, popular_k, top_k};

/// Items scored at a time, so that the compiler keeps their sums in vector registers.
const LANES: usize = 16;

/// Ranks for every judged user all items that training knows and the user did not have, and adds what that is
/// worth to `evaluation`.
///
/// # Errors
/// Those of the device.
pub fn rank(
    device: &dyn Device,
    fitted: &Fitted,
    test: &Test,
    judged: &Judged<'_>,
    longest: usize,
    evaluation: &mut Evaluation,
) -> Result<()> {
    let filters = Filters {
        exclude: Some(&test.seen),
        available: test.open.as_deref(),
        k: longest,
        ..Filters::default()
    };
    match fitted {
        Fitted::Factors(factors) => {
            let users = chosen(&factors.users, &test.users)?;
            top_k::<Error>(device, &users, &factors.items, &filters, |first, lists| {
                evaluation.add(judged, first, &lists);
                Ok(())
            })?;
            let table = Panels::new(&factors.items);
            areas(test, judged, evaluation, |row, scores| {
                table.scores(users.row(row), scores);
            });
        }
        Fitted::Popular(popular) => {
            rank_popular(popular, test, judged, &filters, evaluation)?;
        }
    }
    Ok(())
}

fn rank_popular(
    popular: &Popular,
    test: &Test,
    judged: &Judged<'_>,
    filters: &Filters<'_>,
    evaluation: &mut Evaluation,
) -> Result<()> {
    let rows: Vec<u32> = (0..u32::try_from(test.users.len()).unwrap_or(u32::MAX)).collect();
    for some in rows.chunks(BATCH) {
        let lists = popular_k(popular, some, filters)?;
        evaluation.add(judged, some[0] as usize, &lists);
    }
    areas(test, judged, evaluation, |_, scores| {
        scores.copy_from_slice(popular.scores());
    });
    Ok(())
}

/// The rows `chosen` of a table.
fn chosen(table: &Matrix, chosen: &[u32]) -> Result<Matrix> {
    let rows = chosen.iter().map(|&row| table.row(row as usize));
    let values = rows.flatten().copied().collect();
    Ok(Matrix::new(chosen.len(), table.cols(), values)?)
}

/// Works out the area under the ROC curve for the rows that are sampled; `score` fills in the scores of all items.
fn areas(
    test: &Test,
    judged: &Judged<'_>,
    evaluation: &mut Evaluation,
    score: impl Fn(usize, &mut [f32]) + Sync,
) {
    let open = |item: usize| test.open.as_ref().is_none_or(|open| open[item]);
    let items = test.relevant.cols();
    let found: Vec<(usize, f64)> = judged
        .sample()
        .par_chunks(64)
        .flat_map_iter(|rows| {
            let mut scores = vec![0.0; items];
            let of = |&row: &usize| {
                score(row, &mut scores);
                let (had, relevant) = (test.seen.row(row).0, test.relevant.row(row).0);
                (row, auc(&scores, had, relevant, open))
            };
            rows.iter().map(of).collect::<Vec<_>>()
        })
        .collect();
    for (row, area) in found {
        evaluation.add_auc(judged, row, area);
    }
}

/// A table of items in panels of `[dim][LANES]`.
struct Panels {
    dim: usize,
    data: Vec<[f32; LANES]>,
}

impl Panels {
    fn new(items: &Matrix) -> Self {
        let dim = items.cols();
        let mut data = vec![[0.0; LANES]; items.rows().div_ceil(LANES) * dim];
        for item in 0..items.rows() {
            let panel = item / LANES * dim;
            for (at, &value) in items.row(item).iter().enumerate() {
                data[panel + at][item % LANES] = value;
            }
        }
        Self { dim, data }
    }

    /// Inner products of a user with every item.
    fn scores(&self, user: &[f32], scores: &mut [f32]) {
        for (panel, scores) in self.data.chunks(self.dim).zip(scores.chunks_mut(LANES)) {
            let mut sums = [0.0; LANES];
            for (values, &x) in panel.iter().zip(user) {
                for (sum, y) in sums.iter_mut().zip(values) {
                    *sum += x * y;
                }
            }
            scores.copy_from_slice(&sums[..scores.len()]);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::CpuDevice;
    use crate::compute::testing::matrix;
    use crate::evaluate::metric::Metric;
    use crate::evaluate::protocol::testing::interactions;
    use crate::model::Factors;

    /// Users 0 and 2 of three are judged; item 4 is unknown to training.
    fn ranked(fitted: &Fitted) -> Evaluation {
        let train = interactions(3, 5, &[(0, 0), (0, 1), (1, 2), (1, 3), (2, 3)]);
        let pairs = [(0, 0), (0, 3), (0, 4), (2, 0), (2, 2)];
        let test = Test::new(&train.weights, &pairs).unwrap();
        assert_eq!(test.users, [0, 2]);
        assert_eq!(test.relevant.indices(), [3, 0, 2]);
        let judged = Judged::new(&train.weights, &test.relevant, Some(&test.users)).in_full();
        let mut evaluation = Evaluation::new(&Metric::ALL, &[1, 2], 5);
        rank(
            &CpuDevice::new(),
            fitted,
            &test,
            &judged,
            2,
            &mut evaluation,
        )
        .unwrap();
        evaluation
    }

    #[test]
    fn factors_are_ranked_for_the_judged_users_over_what_is_open_and_not_seen() {
        let users = Matrix::new(3, 1, vec![1.0, 5.0, -1.0]).unwrap();
        let items = Matrix::new(5, 1, vec![0.1, 0.9, 0.2, 0.3, 7.0]).unwrap();
        let evaluation = ranked(&Fitted::Factors(Factors { users, items }));
        // User 0 ranks 3, 2; user 2 ranks 0, 2, 1 and both relevant ones come before.
        assert_eq!(evaluation.values(Metric::Recall, 1).unwrap(), [1.0, 0.5]);
        assert_eq!(evaluation.values(Metric::Recall, 2).unwrap(), [1.0, 1.0]);
        assert_eq!(evaluation.values(Metric::Auc, 0).unwrap(), [1.0, 1.0]);
        let users = Matrix::new(3, 1, vec![-1.0, 5.0, 1.0]).unwrap();
        let items = Matrix::new(5, 1, vec![0.1, 0.15, 0.2, 0.3, 7.0]).unwrap();
        let evaluation = ranked(&Fitted::Factors(Factors { users, items }));
        // User 0 ranks 2 before 3. User 2 ranks 2, 1, 0: one of the two pairs is right.
        assert_eq!(evaluation.values(Metric::Auc, 0).unwrap(), [0.0, 0.5]);
    }

    #[test]
    fn popularity_is_ranked_alike_for_everyone() {
        let evaluation = ranked(&Fitted::Popular(Popular::new(vec![
            3.0, 2.0, 1.0, 4.0, 9.0,
        ])));
        assert_eq!(evaluation.values(Metric::Recall, 1).unwrap(), [1.0, 0.5]);
        assert_eq!(evaluation.values(Metric::Auc, 0).unwrap(), [1.0, 0.5]);
    }

    #[test]
    fn panels_give_inner_products() {
        let (users, items) = (matrix(3, 7, 1), matrix(37, 7, 2));
        let panels = Panels::new(&items);
        let mut scores = vec![0.0; 37];
        for user in 0..3 {
            panels.scores(users.row(user), &mut scores);
            for (item, score) in scores.iter().enumerate() {
                let pairs = users.row(user).iter().zip(items.row(item));
                let wanted: f32 = pairs.map(|(x, y)| x * y).sum();
                assert!((score - wanted).abs() < 1e-5);
            }
        }
    }
}
