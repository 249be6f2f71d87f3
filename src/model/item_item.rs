//! Items by the items that the same users took: cosine (Sarwar, Karypis, Konstan, Riedl, WWW 2001) or a ridge regression
//! of each item on its nearest (Ning and Karypis, "SLIM", ICDM 2011, without its L1 term; with all items for neighbours it
//! is EASE, Steck, WWW 2019).
//!
//! Both start from co-occurrence `g_ij = Σ_u w_ui w_uj`. Cosine is `g_ij / (√(g_ii g_jj) + shrinkage)`. The regression takes
//! the nearest items `C` of an item `i` by cosine and solves `(G_CC + λI) b = g_Ci`. Both are done item by item, so neither
//! holds all of `G`. It runs on the processor, whatever the device: the work is counting.

use super::{
    Definition, Examples, Family, Fitted, Learner, ModelError, Neighbours, Progress, check_weights,
    params, sizes,
};
use crate::compute::{Cholesky, Device};
use crate::features::csr::Csr;
use rayon::prelude::*;
use std::time::Instant;

/// `item_item` in a pipeline file.
pub const FAMILY: Family = Family::new(&Definition {
    name: "item_item",
    personal: true,
    passes: None,
    space: r#"
        similarity = ["cosine", "regression"]
        neighbours = [50, 100, 200, 400]
        l2 = { min = 5.0, max = 500.0, scale = "log" }
        shrinkage = { min = 1.0, max = 100.0, scale = "log" }
        weight_power = [0.0, 0.5, 1.0]
    "#,
    configure: |given| {
        let params: ItemItemParams = params::fill(ItemItemParams::default(), given)?;
        params.validate()?;
        Ok(Box::new(params))
    },
});

/// What an item says for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// The cosine of their columns, shrunk towards 0 where few users back it.
    Cosine,
    /// Its coefficient in a ridge regression of the other on its neighbours.
    Regression,
}

/// Hyperparameters; unknown keys are refused.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ItemItemParams {
    /// What an item says for another.
    pub similarity: Similarity,
    /// Neighbours of an item, 1 to 1,000.
    pub neighbours: usize,
    /// Of the regression: λ, above 0.
    pub l2: f32,
    /// Of cosine: added to its denominator, 0 and above.
    pub shrinkage: f32,
    /// An interaction counts for its weight to this power; 0 counts all alike, 0 to 1.
    pub weight_power: f32,
}

impl Default for ItemItemParams {
    fn default() -> Self {
        Self {
            similarity: Similarity::Regression,
            neighbours: 200,
            l2: 200.0,
            shrinkage: 10.0,
            weight_power: 0.0,
        }
    }
}

impl ItemItemParams {
    /// Names the first parameter that is out of range.
    fn validate(&self) -> Result<(), ModelError> {
        params::within("neighbours", self.neighbours, 1, 1000)?;
        params::above_zero("l2", self.l2)?;
        params::between("shrinkage", self.shrinkage, 0.0, f32::INFINITY)?;
        params::between("weight_power", self.weight_power, 0.0, 1.0 + f32::EPSILON)
    }
}

impl Learner for ItemItemParams {
    fn hyperparameters(&self) -> Result<String, ModelError> {
        params::json(self)
    }

    fn bytes(&self, weights: &Csr) -> u64 {
        let (n, _, items) = sizes(weights);
        // The interactions as they count, by user and by item, and the neighbours of each item twice.
        16 * n + 16 * self.neighbours as u64 * items
    }

    fn train(
        &self,
        _: &dyn Device,
        examples: &Examples<'_>,
        observer: &mut dyn FnMut(Progress),
    ) -> Result<Fitted, ModelError> {
        let start = Instant::now();
        check_weights(examples.weights)?;
        let mut neighbours = Neighbours {
            weights: Csr::from_triplets(0, 0, &[]).map_err(interactions)?,
            weight_power: self.weight_power,
        };
        neighbours.weights = train(self, examples.weights, |weight| neighbours.count(weight))?;
        observer(Progress {
            pass: 1,
            seconds: start.elapsed().as_secs_f64(),
            loss: None,
            validation: None,
        });
        Ok(Fitted::Neighbours(neighbours))
    }
}

fn interactions(error: impl std::fmt::Display) -> ModelError {
    ModelError::Interactions(error.to_string())
}

/// `[items, items]`: what the row's item says for the column's.
fn train(
    params: &ItemItemParams,
    weights: &Csr,
    count: impl Fn(f32) -> f32 + Sync,
) -> Result<Csr, ModelError> {
    let by_user = weights.map_values(&count).map_err(interactions)?;
    let by_item = by_user.transpose();
    let squares: Vec<f64> = (0..by_item.rows())
        .map(|item| by_item.row(item).1.iter().map(|&w| f64::from(w * w)).sum())
        .collect();
    let items = by_item.rows();
    let scratch = || Scratch {
        together: vec![0.0; items],
        place: vec![u32::MAX; by_user.rows()],
    };
    let columns: Vec<Vec<(u32, f32)>> = (0..items)
        .into_par_iter()
        .map_init(scratch, |scratch, item| {
            let nearest = scratch.nearest(item, &by_user, &by_item, &squares, params);
            match params.similarity {
                Similarity::Cosine => nearest
                    .into_iter()
                    .map(|near| (near.item, near.cosine as f32))
                    .collect(),
                Similarity::Regression => scratch.regress(&nearest, &by_item, params.l2),
            }
        })
        .collect();
    let mut indptr = vec![0u64];
    let (mut indices, mut values) = (vec![], vec![]);
    for column in columns {
        for (item, value) in column {
            indices.push(item);
            values.push(value);
        }
        indptr.push(indices.len() as u64);
    }
    let of_target = Csr::new(items, items, indptr, indices, values).map_err(interactions)?;
    Ok(of_target.transpose())
}

/// An item that the same users took.
struct Near {
    item: u32,
    /// Σ_u w_ui w_uj.
    together: f64,
    cosine: f64,
}

/// Memory of one thread.
struct Scratch {
    /// `[items]`: co-occurrence with the item at hand; 0 between items.
    together: Vec<f64>,
    /// `[users]`: a user's place among those of the neighbours; `u32::MAX` between items.
    place: Vec<u32>,
}

impl Scratch {
    /// The nearest items of `item` by cosine, in order of their numbers; equal ones by number.
    fn nearest(
        &mut self,
        item: usize,
        by_user: &Csr,
        by_item: &Csr,
        squares: &[f64],
        params: &ItemItemParams,
    ) -> Vec<Near> {
        let mut touched: Vec<u32> = vec![];
        let (users, weights) = by_item.row(item);
        for (&user, &weight) in users.iter().zip(weights) {
            let (others, values) = by_user.row(user as usize);
            for (&other, &value) in others.iter().zip(values) {
                let together = &mut self.together[other as usize];
                if *together == 0.0 {
                    touched.push(other);
                }
                *together += f64::from(weight * value);
            }
        }
        let shrinkage = match params.similarity {
            Similarity::Cosine => f64::from(params.shrinkage),
            Similarity::Regression => 0.0,
        };
        let mut near = Vec::with_capacity(touched.len());
        for other in touched {
            let together = std::mem::take(&mut self.together[other as usize]);
            if other as usize != item && together > 0.0 {
                let norm = (squares[item] * squares[other as usize]).sqrt();
                near.push(Near {
                    item: other,
                    together,
                    cosine: together / (norm + shrinkage),
                });
            }
        }
        let nearer = |a: &Near, b: &Near| b.cosine.total_cmp(&a.cosine).then(a.item.cmp(&b.item));
        if near.len() > params.neighbours {
            near.select_nth_unstable_by(params.neighbours - 1, nearer);
            near.truncate(params.neighbours);
        }
        near.sort_unstable_by_key(|near| near.item);
        near
    }

    /// Coefficients of a ridge regression on `nearest`.
    fn regress(&mut self, nearest: &[Near], by_item: &Csr, l2: f32) -> Vec<(u32, f32)> {
        let n = nearest.len();
        // The users of the neighbours, each with the neighbours that they took.
        let mut users: Vec<u32> = vec![];
        let mut took: Vec<Vec<(u32, f32)>> = vec![];
        for (near, column) in nearest.iter().zip(0u32..) {
            let (of_item, weights) = by_item.row(near.item as usize);
            for (&user, &weight) in of_item.iter().zip(weights) {
                let place = &mut self.place[user as usize];
                if *place == u32::MAX {
                    *place = took.len() as u32;
                    users.push(user);
                    took.push(vec![]);
                }
                took[*place as usize].push((column, weight));
            }
        }
        for user in users {
            self.place[user as usize] = u32::MAX;
        }
        let mut system = vec![0.0; n * n];
        for of_user in &took {
            for (at, &(row, a)) in of_user.iter().enumerate() {
                let row = &mut system[row as usize * n..][..n];
                for &(column, b) in &of_user[at..] {
                    row[column as usize] += f64::from(a * b);
                }
            }
        }
        for k in 0..n {
            system[k * n + k] += f64::from(l2);
        }
        let mut coefficients: Vec<f64> = nearest.iter().map(|near| near.together).collect();
        // λ > 0 makes the system positive definite but for the last bits of huge weights.
        match Cholesky::new(system, n) {
            Some(cholesky) => cholesky.solve(&mut coefficients),
            None => coefficients.fill(0.0),
        }
        let items = nearest.iter().map(|near| near.item);
        items
            .zip(coefficients.into_iter().map(|c| c as f32))
            .filter(|&(_, coefficient)| coefficient != 0.0)
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::CpuDevice;
    use crate::compute::testing::csr;

    fn fit(params: ItemItemParams, weights: &Csr) -> Neighbours {
        let examples = Examples::new(weights);
        match params.train(&CpuDevice::new(), &examples, &mut |_| {}) {
            Ok(Fitted::Neighbours(neighbours)) => neighbours,
            other => unreachable!("{other:?}"),
        }
    }

    /// `G = XᵀX` of weights to a power.
    fn together(weights: &Csr, power: f32) -> Vec<Vec<f64>> {
        let n = weights.cols();
        let mut g = vec![vec![0.0; n]; n];
        for user in 0..weights.rows() {
            let (items, values) = weights.row(user);
            for (&i, &a) in items.iter().zip(values) {
                for (&j, &b) in items.iter().zip(values) {
                    g[i as usize][j as usize] += f64::from(a.powf(power) * b.powf(power));
                }
            }
        }
        g
    }

    fn dense(csr: &Csr) -> Vec<Vec<f64>> {
        let mut dense = vec![vec![0.0; csr.cols()]; csr.rows()];
        for (row, values) in dense.iter_mut().enumerate() {
            let (columns, entries) = csr.row(row);
            for (&column, &value) in columns.iter().zip(entries) {
                values[column as usize] = f64::from(value);
            }
        }
        dense
    }

    #[test]
    fn cosine_is_that_of_the_columns_and_the_nearest_are_kept() {
        let weights = csr(40, 15, 4, 1);
        let params = ItemItemParams {
            similarity: Similarity::Cosine,
            neighbours: 3,
            shrinkage: 2.0,
            weight_power: 0.5,
            ..ItemItemParams::default()
        };
        let found = dense(&fit(params, &weights).weights);
        let g = together(&weights, 0.5);
        for i in 0..15 {
            let mut expected: Vec<(usize, f64)> = (0..15)
                .filter(|&j| j != i && g[i][j] > 0.0)
                .map(|j| (j, g[i][j] / ((g[i][i] * g[j][j]).sqrt() + 2.0)))
                .collect();
            expected.sort_by(|a, b| b.1.total_cmp(&a.1));
            expected.truncate(3);
            for (j, row) in found.iter().enumerate() {
                let wanted = expected.iter().find(|e| e.0 == j).map_or(0.0, |e| e.1);
                assert!((row[i] - wanted).abs() < 1e-5, "{j} for {i}");
            }
        }
    }

    #[test]
    fn the_regression_on_all_items_is_ease() {
        let weights = csr(60, 12, 5, 1);
        let params = ItemItemParams {
            l2: 3.0,
            ..ItemItemParams::default()
        };
        let found = dense(&fit(params, &weights).weights);
        // B = I − P / diag(P), P = (G + λI)⁻¹.
        let n = 12;
        let g = together(&weights, 0.0);
        let mut system: Vec<f64> = g.concat();
        (0..n).for_each(|i| system[i * n + i] += 3.0);
        let cholesky = Cholesky::new(system, n).unwrap();
        for i in 0..n {
            let mut column = vec![0.0; n];
            column[i] = 1.0;
            cholesky.solve(&mut column);
            for j in 0..n {
                let ease = if i == j { 0.0 } else { -column[j] / column[i] };
                // Items that nobody took together are no neighbours here; all are in this matrix.
                assert!(i == j || g[i][j] > 0.0);
                assert!((found[j][i] - ease).abs() < 1e-5, "{j} for {i}: {ease}");
            }
        }
    }

    #[test]
    fn threads_do_not_change_a_bit() {
        let weights = csr(200, 80, 8, 1);
        for similarity in [Similarity::Cosine, Similarity::Regression] {
            let params = ItemItemParams {
                similarity,
                neighbours: 20,
                ..ItemItemParams::default()
            };
            let with = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
                pool.build().unwrap().install(|| fit(params, &weights))
            };
            assert_eq!(with(1), with(3));
        }
    }

    #[test]
    fn one_user_one_item_and_equal_weights_are_fine() {
        let alone = Csr::from_triplets(1, 1, &[(0, 0, 1.0)]).unwrap();
        assert_eq!(fit(ItemItemParams::default(), &alone).weights.nnz(), 0);
        let all = |n: u32| (0..n).flat_map(move |u| (0..n).map(move |i| (u, i, 1.0)));
        let equal = Csr::from_triplets(5, 5, &all(5).collect::<Vec<_>>()).unwrap();
        let found = fit(ItemItemParams::default(), &equal).weights;
        assert_eq!(found.nnz(), 20);
        let first = found.values()[0];
        assert!(found.values().iter().all(|v| (v - first).abs() < 1e-6));
    }

    #[test]
    fn parameters_out_of_range_and_negative_weights_are_named() {
        let refused = |text: &str| {
            let table: toml::Table = text.parse().unwrap();
            FAMILY.configure(&table).err().unwrap().to_string()
        };
        assert!(refused("neighbours = 0").starts_with("neighbours = 0"));
        assert!(refused("l2 = 0.0").starts_with("l2 = 0"));
        assert!(refused("shrinkage = -1.0").starts_with("shrinkage = -1"));
        assert!(refused("weight_power = 2.0").starts_with("weight_power = 2"));
        assert!(refused("similarity = \"jaccard\"").contains("jaccard"));
        let weights = Csr::from_triplets(2, 2, &[(1, 0, -1.0)]).unwrap();
        let examples = Examples::new(&weights);
        let params = ItemItemParams::default();
        let error = params.train(&CpuDevice::new(), &examples, &mut |_| {});
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("row 1, column 0"), "{error}");
    }
}
