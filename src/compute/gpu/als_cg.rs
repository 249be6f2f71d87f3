//! ALS on the GPU. Where both tables and the interactions fit the device, they stay there over all iterations. Otherwise a
//! half at a time goes there: the fixed side stays while rows stream through in chunks. A fixed side too large for one
//! binding is gathered instead: each chunk brings the rows that it refers to. The few rows too long for one workgroup are
//! solved by the CPU twin.

use super::engine::{Engine, Kernel, Pace};
use super::gram::{self, Source};
use super::{quads, read_rows, upload_gathered, upload_rows};
use crate::compute::als::{Als, Interactions, Side};
use crate::compute::kernels::als_cg::{Params, WGSL};
use crate::compute::{AlsSolve, ComputeError, CpuDevice, Device, Matrix, MatrixView};
use crate::features::csr::Csr;
use std::ops::Range;

/// Entries and rows of a chunk take this many bytes at most, so that the host's copies stay small.
const CHUNK_BYTES: u64 = 256 << 20;

/// A workgroup walks a row this long in tens of milliseconds; a longer one could trip a watchdog.
const LONGEST_ROW: u64 = 1 << 20;

/// One half with the tables in the host's memory.
pub(super) fn run(
    engine: &Engine,
    fixed: MatrixView<'_>,
    interactions: &Csr,
    solve: AlsSolve,
    x: &mut Matrix,
) -> Result<(), ComputeError> {
    let dim = x.cols();
    if dim == 0 || x.rows() == 0 {
        return Ok(());
    }
    let mut solver = Solver::new(engine, dim, solve)?;
    let row_bytes = 16 * solver.quads as u64;
    engine.fits("one row of factors", row_bytes)?;
    let resident = if row_bytes * fixed.rows() as u64 <= engine.limits().binding_bytes {
        Some(upload_rows(engine, "fixed factors", fixed)?)
    } else {
        None
    };
    let source = match &resident {
        Some(table) => Source::Device(table, fixed.rows(), dim),
        None => Source::Host(fixed),
    };
    let gram = gram::on_device(engine, &source, solve.lambda)?;
    let longest = solver.longest_row(resident.is_none());
    let long = solve_long_rows(fixed, interactions, solve, x, longest)?;
    let mut chunks = Chunks::new(engine, interactions, row_bytes, resident.is_none(), longest);
    while let Some(chunk) = chunks.next(solve.alpha) {
        let gathered;
        let table = match &resident {
            Some(table) => table,
            None => {
                let row = |place: usize| fixed.row(chunk.wanted[place] as usize);
                let (rows, width) = (chunk.wanted.len(), 4 * solver.quads);
                gathered = upload_gathered(engine, "gathered factors", rows, width, row)?;
                &gathered
            }
        };
        let rows = chunk.rows.clone();
        let sent = chunk.send(engine, interactions, solve.alpha)?;
        let solution = upload_rows(engine, "factors", x.rows_view(rows.clone()))?;
        solver.solve(&sent, [table, &gram, &solution], 0)?;
        let out = &mut x.data_mut()[rows.start * dim..rows.end * dim];
        read_rows(engine, "reading factors", &solution, dim, out)?;
    }
    for (row, solved) in long {
        x.data_mut()[row * dim..(row + 1) * dim].copy_from_slice(&solved);
    }
    Ok(())
}

/// Both tables and all interactions on the device.
pub(super) struct ResidentAls<'a> {
    engine: &'a Engine,
    solver: Solver<'a>,
    users: Resident,
    items: Resident,
}

/// A table and the interactions of its rows.
struct Resident {
    rows: usize,
    table: wgpu::Buffer,
    chunks: Vec<Sent>,
}

impl<'a> ResidentAls<'a> {
    /// An error that something is too large or that memory is short says that only a half at a time may fit.
    pub fn new(
        engine: &'a Engine,
        interactions: Interactions<'_>,
        [users, items]: [&Matrix; 2],
        solve: AlsSolve,
    ) -> Result<Self, ComputeError> {
        let solver = Solver::new(engine, users.cols(), solve)?;
        let side = |table: &Matrix, interactions: &Csr| {
            let row_bytes = 16 * solver.quads as u64;
            let longest = solver.longest_row(false);
            let most = (0..table.rows()).map(|row| interactions.row(row).0.len());
            let most = most.max().unwrap_or(0);
            if most > longest {
                let what = "the interactions of one row";
                return Err(engine.too_large(what, 8 * most as u64, 8 * longest as u64));
            }
            let buffer = upload_rows(engine, "factors", table.view())?;
            let mut chunks = Chunks::new(engine, interactions, row_bytes, false, longest);
            let mut sent = Vec::new();
            while let Some(chunk) = chunks.next(solve.alpha) {
                sent.push(chunk.send(engine, interactions, solve.alpha)?);
            }
            Ok(Resident {
                rows: table.rows(),
                table: buffer,
                chunks: sent,
            })
        };
        let (users, items) = (
            side(users, interactions.by_user)?,
            side(items, interactions.by_item)?,
        );
        Ok(Self {
            engine,
            solver,
            users,
            items,
        })
    }
}

impl Als for ResidentAls<'_> {
    fn half(&mut self, side: Side) -> Result<(), ComputeError> {
        let (fixed, moving) = match side {
            Side::Users => (&self.items, &self.users),
            Side::Items => (&self.users, &self.items),
        };
        let (dim, lambda) = (self.solver.dim, self.solver.solve.lambda);
        if dim == 0 {
            return Ok(());
        }
        let source = Source::Device(&fixed.table, fixed.rows, dim);
        let gram = gram::on_device(self.engine, &source, lambda)?;
        for chunk in &moving.chunks {
            let buffers = [&fixed.table, &gram, &moving.table];
            self.solver.solve(chunk, buffers, chunk.rows.start)?;
        }
        Ok(())
    }

    fn tables(self: Box<Self>) -> Result<(Matrix, Matrix), ComputeError> {
        let read = |side: &Resident| {
            let mut out = Matrix::zeros(side.rows, self.solver.dim);
            let what = "reading factors";
            read_rows(self.engine, what, &side.table, out.cols(), out.data_mut())?;
            Ok(out)
        };
        Ok((read(&self.users)?, read(&self.items)?))
    }
}

/// The kernel for one length of vectors.
struct Solver<'a> {
    engine: &'a Engine,
    pipeline: wgpu::ComputePipeline,
    dim: usize,
    quads: usize,
    threads: usize,
    solve: AlsSolve,
    pace: Pace,
}

impl<'a> Solver<'a> {
    fn new(engine: &'a Engine, dim: usize, solve: AlsSolve) -> Result<Self, ComputeError> {
        let quads = quads(dim);
        let threads = quads.next_power_of_two().clamp(64, 256);
        let parts = (threads / quads).max(1);
        let constants = [
            ("QUADS", quads as u32),
            ("THREADS", threads as u32),
            ("PARTS", parts as u32),
            ("SUMS", (parts * quads) as u32),
        ];
        let kernel = Kernel {
            source: WGSL,
            entry: "solve",
        };
        Ok(Self {
            engine,
            pipeline: engine.pipeline(kernel, &constants)?,
            dim,
            quads,
            threads,
            solve,
            pace: Pace::new(engine.limits()),
        })
    }

    /// Solves the rows of a chunk against a table with its Gram matrix; `offset` is the first one's place in `solution`.
    fn solve(
        &mut self,
        chunk: &Sent,
        [table, gram, solution]: [&wgpu::Buffer; 3],
        offset: usize,
    ) -> Result<(), ComputeError> {
        let (quads, steps) = (self.quads, self.solve.steps);
        let mut at = 0;
        while at < chunk.rows.len() {
            let flops = |n: usize| {
                let entries = chunk.offsets[at + n] - chunk.offsets[at];
                let per_step =
                    16.0 * quads as f64 * f64::from(entries) + 32.0 * (n * quads * quads) as f64;
                per_step * (steps + 1) as f64
            };
            let most = (chunk.rows.len() - at).min(self.engine.limits().groups as usize);
            let count = partition_point(most, |n| flops(n) <= self.pace.budget());
            let params = Params {
                rows: count as u32,
                first_row: at as u32,
                offset: offset as u32,
                steps: steps as u32,
            };
            let spent = self.engine.dispatch(
                "solving rows",
                &self.pipeline,
                &params,
                &[
                    (1, table),
                    (2, gram),
                    (3, &chunk.indptr),
                    (4, &chunk.entries),
                    (5, solution),
                ],
                [count as u32, 1],
            )?;
            self.pace.learn(flops(count), spent);
            at += count;
        }
        Ok(())
    }

    /// Entries that a workgroup can go through within the adapter's loop iterations, and that fit a binding, with as many
    /// gathered rows where the table is gathered: see `als_cg.wgsl`.
    fn longest_row(&self, gathers: bool) -> usize {
        let (quads, threads) = (self.quads, self.threads);
        let owned = quads.div_ceil(threads);
        let parts = (threads / quads).max(1);
        // Besides the sums: setting up, five passes over owned columns and three reductions per step.
        let per_pass = (owned * (quads + parts + 10) + 64) as u64;
        let per_tile = (quads + owned * (threads / parts + 2) + 1) as u64;
        let passes = self.solve.steps as u64 + 2;
        let limits = self.engine.limits();
        let tiles = (limits.iterations / passes).saturating_sub(per_pass) / per_tile;
        let bindable = limits.binding_bytes / if gathers { 16 * quads as u64 } else { 8 };
        tiles
            .saturating_mul(threads as u64)
            .min(LONGEST_ROW)
            .min(limits.binding_bytes / 8)
            .min(bindable) as usize
    }
}

/// Solves rows of more than `longest` entries by the CPU twin: `(row, factors)`.
fn solve_long_rows(
    fixed: MatrixView<'_>,
    interactions: &Csr,
    solve: AlsSolve,
    x: &Matrix,
    longest: usize,
) -> Result<Vec<(usize, Vec<f32>)>, ComputeError> {
    let long: Vec<usize> = (0..interactions.rows())
        .filter(|&row| interactions.row(row).0.len() > longest)
        .collect();
    if long.is_empty() {
        return Ok(Vec::new());
    }
    let mut indptr = vec![0];
    let (mut indices, mut values, mut factors) = (Vec::new(), Vec::new(), Vec::new());
    for &row in &long {
        let (columns, weights) = interactions.row(row);
        indices.extend_from_slice(columns);
        values.extend_from_slice(weights);
        indptr.push(indices.len() as u64);
        factors.extend_from_slice(x.row(row));
    }
    let part = Csr::new(long.len(), interactions.cols(), indptr, indices, values)
        .map_err(|error| ComputeError::shape(error.to_string()))?;
    let mut factors = Matrix::new(long.len(), x.cols(), factors)?;
    CpuDevice::new().als_half(fixed, &part, solve, &mut factors)?;
    Ok(long
        .iter()
        .enumerate()
        .map(|(i, &row)| (row, factors.row(i).to_vec()))
        .collect())
}

/// The largest `n` in `1..=most` for which `fits` holds, 1 if it holds for none.
fn partition_point(most: usize, fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (1, most);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// Consecutive rows that fit the adapter together.
struct Chunk {
    rows: Range<usize>,
    /// `[rows + 1]`, from 0.
    offsets: Vec<u32>,
    /// When gathering: `(place in wanted, bits of c − 1)`.
    entries: Vec<[u32; 2]>,
    /// When gathering: rows of the fixed side, in the order of their new numbers.
    wanted: Vec<u32>,
    gathers: bool,
}

/// A chunk on the device.
struct Sent {
    rows: Range<usize>,
    offsets: Vec<u32>,
    indptr: wgpu::Buffer,
    entries: wgpu::Buffer,
}

impl Chunk {
    /// `alpha` times a weight is what confidence is above 1.
    fn send(self, engine: &Engine, all: &Csr, alpha: f32) -> Result<Sent, ComputeError> {
        let what = "interactions";
        let entries = if self.gathers {
            engine.upload(what, &self.entries)?
        } else {
            let start = all.indptr()[self.rows.start] as usize;
            let count = self.offsets[self.rows.len()] as usize;
            engine.upload_with(what, count, |first, part: &mut [[u32; 2]]| {
                let columns = &all.indices()[start + first..];
                let weights = &all.values()[start + first..];
                for (entry, (&column, &weight)) in part.iter_mut().zip(columns.iter().zip(weights))
                {
                    *entry = [column, (alpha * weight).to_bits()];
                }
            })?
        };
        Ok(Sent {
            indptr: engine.upload("row offsets", &self.offsets)?,
            rows: self.rows,
            offsets: self.offsets,
            entries,
        })
    }
}

struct Chunks<'a> {
    interactions: &'a Csr,
    next: usize,
    /// Longer rows are taken as empty.
    longest: usize,
    most_entries: usize,
    most_rows: usize,
    most_wanted: usize,
    /// When gathering: `(chunk, new number)` of each row of the fixed side.
    places: Option<Vec<(u32, u32)>>,
    chunk: u32,
}

impl<'a> Chunks<'a> {
    /// `longest` entries fit a chunk, and so do as many gathered rows.
    fn new(
        engine: &Engine,
        interactions: &'a Csr,
        row_bytes: u64,
        gathers: bool,
        longest: usize,
    ) -> Self {
        let binding = engine.limits().binding_bytes;
        let bytes = binding.min(CHUNK_BYTES);
        Self {
            interactions,
            next: 0,
            longest,
            most_entries: (bytes / 8) as usize,
            most_rows: (bytes / row_bytes).min(bytes / 4 - 1) as usize,
            most_wanted: (binding / row_bytes) as usize,
            places: gathers.then(|| vec![(0, 0); interactions.cols()]),
            chunk: 0,
        }
    }

    fn next(&mut self, alpha: f32) -> Option<Chunk> {
        if self.next >= self.interactions.rows() {
            return None;
        }
        self.chunk += 1;
        let first = self.next;
        let mut offsets = vec![0];
        let (mut count, mut entries, mut wanted) = (0, Vec::new(), Vec::new());
        while self.next < self.interactions.rows() && offsets.len() <= self.most_rows {
            let (columns, values) = self.interactions.row(self.next);
            if columns.len() > self.longest {
                // By itself, so that the entries of a chunk lie side by side.
                if offsets.len() == 1 {
                    offsets.push(0);
                    self.next += 1;
                }
                break;
            }
            if count + columns.len() > self.most_entries {
                break;
            }
            if let Some(places) = &mut self.places {
                let known = |c: &&u32| places[**c as usize].0 == self.chunk;
                let new = columns.len() - columns.iter().filter(known).count();
                if wanted.len() + new > self.most_wanted {
                    break;
                }
                for (&c, &w) in columns.iter().zip(values) {
                    let place = &mut places[c as usize];
                    if place.0 != self.chunk {
                        *place = (self.chunk, wanted.len() as u32);
                        wanted.push(c);
                    }
                    entries.push([place.1, (alpha * w).to_bits()]);
                }
            }
            count += columns.len();
            offsets.push(count as u32);
            self.next += 1;
        }
        Some(Chunk {
            rows: first..self.next,
            offsets,
            entries,
            wanted,
            gathers: self.places.is_some(),
        })
    }
}
