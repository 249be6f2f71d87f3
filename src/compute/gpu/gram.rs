//! Gram matrices on the GPU: splits in waves that fit a binding, summed in split order.

use super::engine::{Engine, Kernel, Pace};
use super::{quads, upload_rows};
use crate::compute::kernels::gram::{Params, WGSL, rows_per_split};
use crate::compute::{ComputeError, Matrix, MatrixView};

/// A table whose Gram matrix is wanted.
pub(super) enum Source<'a> {
    Host(MatrixView<'a>),
    /// On the device: its buffer, rows and columns.
    Device(&'a wgpu::Buffer, usize, usize),
}

/// Partial sums of a wave take this many bytes at most.
const PARTIAL_BYTES: u64 = 64 << 20;

pub(super) fn run(
    engine: &Engine,
    table: MatrixView<'_>,
    lambda: f32,
) -> Result<Matrix, ComputeError> {
    let (dim, side) = (table.cols(), 4 * quads(table.cols()));
    if dim == 0 {
        return Ok(Matrix::zeros(0, 0));
    }
    let total = on_device(engine, &Source::Host(table), lambda)?;
    let padded: Vec<f32> = engine.read("reading the Gram matrix", &total, 0, side * side)?;
    let mut out = Matrix::zeros(dim, dim);
    for (i, row) in out.data_mut().chunks_exact_mut(dim).enumerate() {
        row.copy_from_slice(&padded[i * side..i * side + dim]);
    }
    Ok(out)
}

/// `YᵀY + λI`, `[side, side]` with `side` = dim rounded up to 4, left on the device.
pub(super) fn on_device(
    engine: &Engine,
    source: &Source<'_>,
    lambda: f32,
) -> Result<wgpu::Buffer, ComputeError> {
    let (rows, dim) = match source {
        Source::Host(table) => (table.rows(), table.cols()),
        &Source::Device(_, rows, dim) => (rows, dim),
    };
    let quads = quads(dim);
    let side = 4 * quads;
    let limits = engine.limits();
    let partial = engine.pipeline(
        Kernel {
            source: WGSL,
            entry: "partial",
        },
        &[],
    )?;
    let reduce = engine.pipeline(
        Kernel {
            source: WGSL,
            entry: "reduce",
        },
        &[],
    )?;
    let square = (4 * side * side) as u64;
    let total = engine.zeroed("Gram matrix", square)?;
    let split = rows_per_split(rows, 1024);
    let split_bytes = (16 * quads * split.min(rows)) as u64;
    engine.fits("a split of the table", split_bytes)?;
    // A step over 16 rows has an inner loop of 16.
    if 2 * split as u64 > limits.iterations {
        return Err(engine.too_large("a split of the table", 2 * split as u64, limits.iterations));
    }
    let most = (limits.binding_bytes / split_bytes.max(1))
        .min(limits.binding_bytes.min(PARTIAL_BYTES) / square)
        .min(limits.groups.into())
        .min(limits.iterations)
        .max(1) as usize;
    let mut pace = Pace::new(limits);
    let mut at = 0;
    // One empty wave for an empty table, which is λI.
    while at < rows || at == 0 {
        let split_flops = 2.0 * (split * side * side) as f64;
        let splits = most
            .min((pace.budget() / split_flops) as usize)
            .clamp(1, rows.saturating_sub(at).div_ceil(split).max(1));
        let end = rows.min(at + splits * split);
        let sent;
        let (table, span) = match source {
            Source::Host(table) => {
                sent = upload_rows(engine, "table rows", table.rows_range(at..end))?;
                (&sent, 0..end - at)
            }
            &Source::Device(table, ..) => (table, at..end),
        };
        let params = Params {
            start: span.start as u32,
            end: span.end as u32,
            rows_per_split: split as u32,
            splits: splits as u32,
            quads: quads as u32,
            dim: dim as u32,
            first: u32::from(at == 0),
            last: u32::from(end == rows),
            lambda,
        };
        let partials = engine.zeroed("partial Gram matrices", square * splits as u64)?;
        let tiles = quads.div_ceil(16) as u32;
        let spent = engine.dispatch(
            "partial Gram matrices",
            &partial,
            &params,
            &[(1, table), (2, &partials)],
            [tiles * tiles, splits as u32],
        )?;
        pace.learn(splits as f64 * split_flops, spent);
        engine.dispatch(
            "summing Gram matrices",
            &reduce,
            &params,
            &[(2, &partials), (3, &total)],
            [(side * side).div_ceil(64) as u32, 1],
        )?;
        at = end;
        if rows == 0 {
            break;
        }
    }
    Ok(total)
}
