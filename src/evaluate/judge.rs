//! A fitted model against a test: lists of all items, and the place of the relevant ones in the whole ranking.

use rayon::prelude::*;

use super::evaluation::{Evaluation, Judged};
use super::metric::auc;
use super::protocol::Test;
use crate::compute::{Device, Matrix, TopK};
use crate::error::{Error, Result};
use crate::features::csr::Csr;
use crate::model::Fitted;
use crate::model::popular::Popular;
use crate::recommend::neighbours::add_up;
use crate::recommend::rank::rank;
use crate::recommend::topk::{Filters, popular_k};

/// Items scored at a time, so that the compiler keeps their sums in vector registers.
const LANES: usize = 16;

/// Ranks for every judged user all items that training knows and the user did not have, and adds to `evaluation` what that
/// is worth; `history` `[all users, items]` is what the training has.
///
/// # Errors
/// Those of the device.
pub fn judge(
    device: &dyn Device,
    fitted: &Fitted,
    history: &Csr,
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
    let users = &test.users;
    let knows = |user: u32| fitted.knows(user as usize, history);
    // Whom the model does not know is given the popular list, as when it is served.
    let strangers = users.iter().any(|&user| !knows(user));
    let popular = strangers.then(|| Popular::train(history));
    rank::<Error>(device, fitted, history, users, &filters, |first, lists| {
        let lists = match &popular {
            None => lists,
            Some(popular) => {
                let mut whole = TopK::default();
                for (row, place) in (0..lists.rows()).zip(first..) {
                    let number = u32::try_from(place).unwrap_or(u32::MAX);
                    let given = if knows(users[place]) {
                        None
                    } else {
                        Some(popular_k(popular, &[number], &filters)?)
                    };
                    let (items, scores) = given.as_ref().map_or(lists.row(row), |of| of.row(0));
                    whole.push(items.iter().copied().zip(scores.iter().copied()));
                }
                whole
            }
        };
        evaluation.add(judged, first, &lists);
        Ok(())
    })?;
    match fitted {
        Fitted::Factors(factors) => {
            let table = Panels::new(&factors.items);
            areas(test, judged, evaluation, |user, scores| match &popular {
                Some(popular) if !fitted.knows(user, history) => {
                    scores.copy_from_slice(popular.scores());
                }
                _ => table.scores(factors.users.row(user), scores),
            });
        }
        Fitted::Neighbours(neighbours) => areas(test, judged, evaluation, |user, scores| {
            scores.fill(0.0);
            add_up(neighbours, history.row(user), scores, &mut vec![]);
        }),
        Fitted::Popular(popular) => areas(test, judged, evaluation, |_, scores| {
            scores.copy_from_slice(popular.scores());
        }),
    }
    Ok(())
}

/// Works out the area under the ROC curve for the rows that are sampled; `score` fills in
/// the scores of all items for a user, a row of the training.
fn areas(
    test: &Test,
    judged: &Judged<'_>,
    evaluation: &mut Evaluation,
    score: impl Fn(usize, &mut [f32]) + Sync,
) {
    let open = test.open.iter().flatten().zip(0u32..);
    let closed: Vec<u32> = open.filter(|(open, _)| !**open).map(|(_, i)| i).collect();
    let items = test.relevant.cols();
    let found: Vec<(usize, f64)> = judged
        .sample()
        .par_chunks(64)
        .flat_map_iter(|rows| {
            let mut scores = vec![0.0; items];
            let of = |&row: &usize| {
                score(test.users[row] as usize, &mut scores);
                let (had, relevant) = (test.seen.row(row).0, test.relevant.row(row).0);
                (row, auc(&scores, had, relevant, &closed))
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
    use crate::model::{Factors, Neighbours};

    /// Users 0 and 2 of three are judged; item 4 is unknown to training.
    fn ranked(fitted: &Fitted) -> Evaluation {
        let train = interactions(3, 5, &[(0, 0), (0, 1), (1, 2), (1, 3), (2, 3)]);
        let pairs = [(0, 0), (0, 3), (0, 4), (2, 0), (2, 2)];
        let test = Test::new(&train.weights, &pairs).unwrap();
        assert_eq!(test.users, [0, 2]);
        assert_eq!(test.relevant.indices(), [3, 0, 2]);
        let judged = Judged::new(&train.weights, &test.relevant, Some(&test.users)).in_full();
        let mut evaluation = Evaluation::new(&Metric::ALL, &[1, 2], 5);
        let device = CpuDevice::new();
        let history = &train.weights;
        judge(&device, fitted, history, &test, &judged, 2, &mut evaluation).unwrap();
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
    fn neighbours_are_ranked_by_what_the_histories_say() {
        // Item 0 says 3, item 1 says 2 and 3, item 3 says 2.
        let said = [(0, 3, 2.0), (1, 2, 1.0), (1, 3, 1.0), (3, 2, 5.0)];
        let evaluation = ranked(&Fitted::Neighbours(Neighbours {
            weights: Csr::from_triplets(5, 5, &said).unwrap(),
            weight_power: 0.0,
        }));
        // User 0 ranks 3 (3.0) before 2 (1.0); user 2 ranks 2, and ties 0, which is relevant, with 1, which is not.
        assert_eq!(evaluation.values(Metric::Recall, 1).unwrap(), [1.0, 0.5]);
        assert_eq!(evaluation.values(Metric::Recall, 2).unwrap(), [1.0, 0.5]);
        assert_eq!(evaluation.values(Metric::Auc, 0).unwrap(), [1.0, 0.75]);
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
