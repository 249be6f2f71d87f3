//! The GPU device: the kernels of `../kernels/*.wgsl` run through wgpu (Vulkan, Metal, DirectX 12).
//!
//! `engine` knows wgpu and no kernel; the other files split each kernel's work into pieces that the adapter can hold.

mod als_cg;
mod engine;
mod gram;
mod score_topk;
mod table;
mod trainer;

pub use engine::GpuLimits;

use super::{
    AlsSolve, ComputeError, Device, DeviceInfo, Kind, Matrix, MatrixView, Recipe, Scorer, Trainer,
    check_als, check_tables,
};
use crate::features::csr::Csr;
use engine::Engine;

/// Computes on a graphics adapter.
pub struct GpuDevice {
    info: DeviceInfo,
    engine: Engine,
}

impl GpuDevice {
    /// Opens an adapter with all that it offers, or with less: `limits` may lower what the adapter reports.
    pub(super) fn open(
        adapter: &wgpu::Adapter,
        limits: impl FnOnce(GpuLimits) -> GpuLimits,
    ) -> Result<Self, ComputeError> {
        Ok(Self {
            info: describe(adapter),
            engine: Engine::open(adapter, limits)?,
        })
    }

    /// Kills the device as a driver reset would.
    #[cfg(test)]
    pub(super) fn destroy(&self) {
        self.engine.destroy();
    }
}

/// An adapter in our words.
pub(super) fn describe(adapter: &wgpu::Adapter) -> DeviceInfo {
    let info = adapter.get_info();
    let limits = adapter.limits();
    DeviceInfo {
        name: info.name,
        kind: match info.device_type {
            wgpu::DeviceType::DiscreteGpu => Kind::Discrete,
            wgpu::DeviceType::IntegratedGpu => Kind::Integrated,
            wgpu::DeviceType::VirtualGpu => Kind::Virtual,
            wgpu::DeviceType::Cpu => Kind::Software,
            wgpu::DeviceType::Other => Kind::Other,
        },
        backend: info.backend.to_str().to_owned(),
        max_buffer_bytes: Some(limits.max_buffer_size),
        max_binding_bytes: Some(limits.max_storage_buffer_binding_size),
    }
}

impl Device for GpuDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn gram(&self, table: MatrixView<'_>, lambda: f32) -> Result<Matrix, ComputeError> {
        gram::run(&self.engine, table, lambda)
    }

    fn als_half(
        &self,
        fixed: MatrixView<'_>,
        interactions: &Csr,
        solve: AlsSolve,
        x: &mut Matrix,
    ) -> Result<(), ComputeError> {
        check_als(fixed, interactions, x)?;
        als_cg::run(&self.engine, fixed, interactions, solve, x)
    }

    fn trainer<'a>(
        &'a self,
        users: &Matrix,
        items: &Matrix,
        recipe: Recipe,
    ) -> Result<Box<dyn Trainer + 'a>, ComputeError> {
        check_tables(users, items)?;
        Ok(Box::new(trainer::GpuTrainer::new(
            &self.engine,
            users,
            items,
            recipe,
        )?))
    }

    fn scorer<'a>(
        &'a self,
        items: MatrixView<'a>,
        available: Option<&[bool]>,
    ) -> Result<Box<dyn Scorer + 'a>, ComputeError> {
        Ok(Box::new(score_topk::GpuScorer::new(
            &self.engine,
            items,
            available,
        )?))
    }
}

/// vec4s per row of a table with `dim` columns; at least one, as bindings must not be empty.
fn quads(dim: usize) -> usize {
    dim.div_ceil(4).max(1)
}

/// Rows padded with zeros to whole vec4s.
fn pad(table: MatrixView<'_>) -> std::borrow::Cow<'_, [f32]> {
    let (dim, width) = (table.cols(), 4 * quads(table.cols()));
    if dim == width {
        return table.data().into();
    }
    let mut out = vec![0.0; table.rows() * width];
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        out[..dim].copy_from_slice(table.row(row));
    }
    out.into()
}

#[cfg(test)]
mod tests;
