//! Training on the CPU: the tables padded to whole vectors, one batch after another through the kernels.

use super::aligned::{Aligned, AlignedTable};
use super::kernels::embed::{self, How};
use super::kernels::gather_grad::{self, Side};
use super::kernels::{apply, sample_loss};
use super::training::{Batch, Plan, Recipe, Trainer, check};
use super::{ComputeError, Isa, Matrix};

/// A table with its optimiser state.
struct Table {
    rows: usize,
    dim: usize,
    /// `[rows, stride]`.
    data: Aligned,
    /// As long as `data`, or empty.
    first: Aligned,
    second: Aligned,
    /// `[rows]`: how often each has moved.
    steps: Vec<u32>,
}

impl Table {
    fn new(table: &Matrix, states: usize) -> Self {
        let aligned = AlignedTable::new(table.view());
        let length = aligned.floats().len();
        let state = |n: usize| Aligned::zeros(if states >= n { length } else { 0 });
        Self {
            rows: table.rows(),
            dim: table.cols(),
            first: state(1),
            second: state(2),
            steps: vec![0; table.rows()],
            data: aligned.into_data(),
        }
    }

    fn matrix(&self, stride: usize) -> Matrix {
        let mut out = Matrix::zeros(self.rows, self.dim);
        for (row, out) in out.data_mut().chunks_exact_mut(self.dim.max(1)).enumerate() {
            out.copy_from_slice(&self.data.floats()[row * stride..row * stride + self.dim]);
        }
        out
    }
}

pub(super) struct CpuTrainer {
    isa: Isa,
    recipe: Recipe,
    stride: usize,
    users: Table,
    items: Table,
    steps: u32,
    losses: Vec<f64>,
}

impl CpuTrainer {
    pub fn new(isa: Isa, users: &Matrix, items: &Matrix, recipe: Recipe) -> Self {
        Self {
            isa,
            recipe,
            stride: AlignedTable::stride(users.cols()),
            users: Table::new(users, recipe.states()),
            items: Table::new(items, recipe.states()),
            steps: 0,
            losses: Vec::new(),
        }
    }
}

impl Trainer for CpuTrainer {
    fn step(&mut self, batch: &Batch<'_>, rate: f32) -> Result<(), ComputeError> {
        check(batch, self.users.rows, self.items.rows)?;
        let (isa, stride, recipe) = (self.isa, self.stride, self.recipe);
        self.steps = self.steps.wrapping_add(1);
        let how = |table: u32| How {
            cosine: recipe.cosine,
            dropout: recipe.dropout,
            key: recipe.key(self.steps, table),
        };
        let (user_how, item_how) = (how(0), how(1));
        let (user_rows, item_rows) = (self.users.data.floats(), self.items.data.floats());
        let users = embed::cpu(isa, user_rows, stride, batch.users, user_how);
        let positives = embed::cpu(isa, item_rows, stride, batch.items, item_how);
        let negatives = embed::cpu(isa, item_rows, stride, batch.negatives, item_how);
        let embedded = [&users, &positives, &negatives];
        let outcome = sample_loss::cpu(isa, recipe.loss, batch, stride, embedded);

        let places = batch.users.iter().copied();
        let plan = Plan::new(places, &[], &mut self.users.steps);
        let side = Side::Users { users: &users };
        let gradient = gather_grad::cpu(isa, &plan, &outcome, side, stride, user_how);
        let table = &mut self.users;
        let state = [&mut table.data, &mut table.first, &mut table.second];
        apply::cpu(isa, &recipe, rate, &plan, &gradient, stride, state);

        let places = batch.items.iter().chain(batch.negatives).copied();
        let plan = Plan::new(places, batch.held, &mut self.items.steps);
        let side = Side::Items {
            users: &users,
            positives: &positives,
            negatives: &negatives,
        };
        let gradient = gather_grad::cpu(isa, &plan, &outcome, side, stride, item_how);
        let table = &mut self.items;
        let state = [&mut table.data, &mut table.first, &mut table.second];
        apply::cpu(isa, &recipe, rate, &plan, &gradient, stride, state);
        self.losses.push(outcome.loss);
        Ok(())
    }

    fn losses(&mut self) -> Result<Vec<f64>, ComputeError> {
        Ok(std::mem::take(&mut self.losses))
    }

    fn tables(&self) -> Result<(Matrix, Matrix), ComputeError> {
        Ok((
            self.users.matrix(self.stride),
            self.items.matrix(self.stride),
        ))
    }
}
