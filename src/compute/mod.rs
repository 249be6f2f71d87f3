//! Dense numeric work: devices (GPU through wgpu, CPU through threads and SIMD) behind one trait.
//!
//! A kernel is a pair in `kernels/`: `<name>.wgsl` and `<name>.rs`, its CPU twin. The same device gives the
//! same bits on every run; CPU results do not depend on the number of threads.

mod aligned;
mod als;
mod cholesky;
mod cpu;
mod cpu_trainer;
mod error;
mod gpu;
mod kernels;
mod matrix;
mod select;
mod simd;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod training;
#[cfg(test)]
mod training_tests;

pub use als::{Als, Interactions, Side};
pub(crate) use cholesky::Cholesky;
pub use cpu::CpuDevice;
pub use error::ComputeError;
pub use gpu::{GpuDevice, GpuLimits};
pub use kernels::als_cg::AlsSolve;
pub use kernels::score_topk::TopK;
pub use matrix::{Matrix, MatrixView};
pub use select::{Choice, list, open};
pub use simd::Isa;
pub use training::{Batch, Loss, MOST_SAMPLES, Optimizer, Recipe, Trainer};

use crate::features::csr::Csr;

/// What can compute here.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceInfo {
    /// The adapter's name, or `cpu`.
    pub name: String,
    /// What sort of device it is.
    pub kind: Kind,
    /// `vulkan`, `metal`, `dx12`, or the instruction set that CPU kernels use.
    pub backend: String,
    /// Largest buffer, in bytes; `None` on the CPU.
    pub max_buffer_bytes: Option<u64>,
    /// Largest part of a buffer that one kernel can see, in bytes; larger tables are streamed. `None` on the CPU.
    pub max_binding_bytes: Option<u64>,
}

/// The sort of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Our own threads and SIMD code.
    Cpu,
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A GPU passed into a virtual machine.
    Virtual,
    /// A graphics driver that computes on the CPU (lavapipe, WARP): for tests, used only when named.
    Software,
    /// The driver does not say; used only when named.
    Other,
}

impl Kind {
    /// Whether `auto` and `gpu` may choose it.
    pub fn is_gpu(self) -> bool {
        matches!(self, Self::Discrete | Self::Integrated | Self::Virtual)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Discrete => "discrete",
            Self::Integrated => "integrated",
            Self::Virtual => "virtual",
            Self::Software => "software",
            Self::Other => "other",
        })
    }
}

/// A device that runs the kernels.
pub trait Device: Send + Sync {
    /// What it is.
    fn info(&self) -> &DeviceInfo;

    /// The regularised Gram matrix `YᵀY + λI`, `[dim, dim]`, of a table `Y` `[rows, dim]`.
    fn gram(&self, table: MatrixView<'_>, lambda: f32) -> Result<Matrix, ComputeError>;

    /// One half of an ALS iteration: improves every row of `x` `[interactions.rows, dim]` in place, while `fixed`
    /// `[interactions.cols, dim]` is held. Rows without interactions become zero. See [`AlsSolve`].
    fn als_half(
        &self,
        fixed: MatrixView<'_>,
        interactions: &Csr,
        solve: AlsSolve,
        x: &mut Matrix,
    ) -> Result<(), ComputeError>;

    /// Takes `users` `[users, dim]` and `items` `[items, dim]` to be solved for in turn.
    fn als<'a>(
        &'a self,
        interactions: Interactions<'a>,
        users: Matrix,
        items: Matrix,
        solve: AlsSolve,
    ) -> Result<Box<dyn Als + 'a>, ComputeError>;

    /// Takes `users` `[users, dim]` and `items` `[items, dim]` to be trained by gradient.
    fn trainer<'a>(
        &'a self,
        users: &Matrix,
        items: &Matrix,
        recipe: Recipe,
    ) -> Result<Box<dyn Trainer + 'a>, ComputeError>;

    /// Prepares `items` `[items, dim]` to be scored against batches of users. Items whose `available` is false
    /// never appear in a list.
    fn scorer<'a>(
        &'a self,
        items: MatrixView<'a>,
        available: Option<&[bool]>,
    ) -> Result<Box<dyn Scorer + 'a>, ComputeError>;
}

/// Items made ready for scoring: see [`Device::scorer`].
pub trait Scorer {
    /// The best `k` items of each user by inner product, order (score descending, item ascending).
    fn top_k(&self, query: &Query<'_>) -> Result<TopK, ComputeError>;
}

/// A batch of users to be served.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// `[users, dim]`.
    pub users: MatrixView<'a>,
    /// `[all users, items]`: items that a user must not get; its row `first_user + i` belongs to row `i` of `users`.
    pub exclude: Option<&'a Csr>,
    /// Row of `exclude` that belongs to the first user of the batch.
    pub first_user: usize,
    /// Scores below it are left out.
    pub min_score: Option<f32>,
    /// Length of a list at most.
    pub k: usize,
}

impl<'a> Query<'a> {
    /// Checks the query against a table of `items` × `dim`.
    fn check(&self, items: usize, dim: usize) -> Result<(), ComputeError> {
        if self.users.cols() != dim {
            return Err(ComputeError::shape(format!(
                "users have {} dimensions, items {dim}",
                self.users.cols()
            )));
        }
        if let Some(exclude) = self.exclude
            && (exclude.cols() != items || exclude.rows() < self.first_user + self.users.rows())
        {
            return Err(ComputeError::shape(format!(
                "exclusions are [{}, {}], wanted at least {} users × {items} items",
                exclude.rows(),
                exclude.cols(),
                self.first_user + self.users.rows(),
            )));
        }
        if self.min_score.is_some_and(f32::is_nan) {
            return Err(ComputeError::shape("the minimum score is not a number"));
        }
        Ok(())
    }

    /// Items that user `i` of the batch must not get, ascending.
    fn excluded(&self, i: usize) -> &'a [u32] {
        self.exclude
            .map_or(&[][..], |csr| csr.row(self.first_user + i).0)
    }
}

fn check_als(fixed: MatrixView<'_>, interactions: &Csr, x: &Matrix) -> Result<(), ComputeError> {
    if fixed.cols() != x.cols()
        || fixed.rows() != interactions.cols()
        || x.rows() != interactions.rows()
    {
        return Err(ComputeError::shape(format!(
            "interactions [{}, {}] do not fit factors [{}, {}] and a fixed side [{}, {}]",
            interactions.rows(),
            interactions.cols(),
            x.rows(),
            x.cols(),
            fixed.rows(),
            fixed.cols()
        )));
    }
    Ok(())
}

fn check_tables(users: &Matrix, items: &Matrix) -> Result<(), ComputeError> {
    if users.cols() == items.cols() && users.rows().max(items.rows()) <= u32::MAX as usize {
        return Ok(());
    }
    Err(ComputeError::shape(format!(
        "tables [{}, {}] and [{}, {}] cannot be trained together",
        users.rows(),
        users.cols(),
        items.rows(),
        items.cols()
    )))
}

/// Positions of the items that may be recommended, ascending.
fn available_items(items: usize, available: Option<&[bool]>) -> Result<Vec<u32>, ComputeError> {
    if items >= u32::MAX as usize {
        return Err(ComputeError::shape(format!(
            "{items} items: more than u32 can number"
        )));
    }
    match available {
        None => Ok((0..items as u32).collect()),
        Some(mask) if mask.len() == items => Ok((0..items as u32)
            .filter(|&item| mask[item as usize])
            .collect()),
        Some(mask) => Err(ComputeError::shape(format!(
            "the availability mask has {} entries for {items} items",
            mask.len()
        ))),
    }
}
