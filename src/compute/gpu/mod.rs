//! The GPU device: the kernels of `../kernels/*.wgsl` run through wgpu (Vulkan, Metal, DirectX 12).
//!
//! `engine` knows wgpu and no kernel; the other files split each kernel's work into pieces that the adapter can hold.

mod als_cg;
mod engine;
mod gram;
mod score_topk;
mod scratch;
mod table;
mod trainer;

pub use engine::GpuLimits;

use super::als::by_halves;
use super::{
    Als, AlsSolve, ComputeError, Device, DeviceInfo, Interactions, Kind, Matrix, MatrixView,
    Recipe, Scorer, Trainer, check_als, check_tables,
};
use crate::features::csr::Csr;
use engine::Engine;
use rayon::prelude::*;

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

    fn als<'a>(
        &'a self,
        interactions: Interactions<'a>,
        users: Matrix,
        items: Matrix,
        solve: AlsSolve,
    ) -> Result<Box<dyn Als + 'a>, ComputeError> {
        check_als(items.view(), interactions.by_user, &users)?;
        check_als(users.view(), interactions.by_item, &items)?;
        match als_cg::ResidentAls::new(&self.engine, interactions, [&users, &items], solve) {
            Ok(resident) => Ok(Box::new(resident)),
            Err(ComputeError::TooLarge { .. } | ComputeError::OutOfMemory { .. }) => {
                Ok(by_halves(self, interactions, (users, items), solve))
            }
            Err(error) => Err(error),
        }
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

/// A table on the device, its rows padded with zeros to whole vec4s.
fn upload_rows(
    engine: &Engine,
    what: &'static str,
    table: MatrixView<'_>,
) -> Result<wgpu::Buffer, ComputeError> {
    let (dim, width) = (table.cols(), 4 * quads(table.cols()));
    if dim == width {
        return engine.upload(what, table.data());
    }
    upload_gathered(engine, what, table.rows(), width, |row| table.row(row))
}

/// Rows `row` of `0..rows`, each padded with zeros to `width`.
fn upload_gathered<'a>(
    engine: &Engine,
    what: &'static str,
    rows: usize,
    width: usize,
    row: impl Fn(usize) -> &'a [f32] + Sync,
) -> Result<wgpu::Buffer, ComputeError> {
    engine.upload_with(what, rows * width, |first, part| {
        for (i, value) in part.iter_mut().enumerate() {
            let at = first + i;
            *value = row(at / width).get(at % width).copied().unwrap_or(0.0);
        }
    })
}

/// The rows of a table on the device, without their padding.
fn read_rows(
    engine: &Engine,
    what: &'static str,
    buffer: &wgpu::Buffer,
    dim: usize,
    out: &mut [f32],
) -> Result<(), ComputeError> {
    if dim == 0 {
        return Ok(());
    }
    let width = 4 * quads(dim);
    let count = out.len() / dim * width;
    engine.read_with(what, buffer, 0, count, |padded: &[f32]| {
        out.par_chunks_mut(READ_ROWS * dim)
            .zip(padded.par_chunks(READ_ROWS * width))
            .for_each(|(out, padded)| {
                let rows = out.chunks_exact_mut(dim).zip(padded.chunks_exact(width));
                rows.for_each(|(out, row)| out.copy_from_slice(&row[..dim]));
            });
    })
}

/// Rows that a thread copies at a time.
const READ_ROWS: usize = 4096;

#[cfg(test)]
mod tests;
