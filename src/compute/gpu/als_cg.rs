//! ALS halves on the GPU: the fixed side stays on the device while rows stream through in chunks. A fixed side too large
//! for one binding is gathered instead: each chunk brings the rows that it refers to. The few rows too long for one
//! workgroup are solved by the CPU twin.

use super::engine::{Engine, Kernel, Pace};
use super::{gram, pad, quads};
use crate::compute::kernels::als_cg::{Params, WGSL};
use crate::compute::{AlsSolve, ComputeError, CpuDevice, Device, Matrix, MatrixView};
use crate::features::csr::Csr;

/// Entries and rows of a chunk take this many bytes at most, so that the host's copies stay small.
const CHUNK_BYTES: u64 = 256 << 20;

/// A workgroup walks a row this long in tens of milliseconds; a longer one could trip a watchdog.
const LONGEST_ROW: u64 = 1 << 20;

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
    let quads = quads(dim);
    let threads = (quads.next_power_of_two() as u32).clamp(64, 256);
    let pipeline = engine.pipeline(
        Kernel {
            source: WGSL,
            entry: "solve",
        },
        &[("QUADS", quads as u32), ("THREADS", threads)],
    )?;
    let gram = gram::on_device(engine, fixed, solve.lambda)?;
    let resident = if (16 * quads * fixed.rows()) as u64 <= engine.limits().binding_bytes {
        Some(engine.upload("fixed factors", &pad(fixed))?)
    } else {
        None
    };
    let row_bytes = 16 * quads as u64;
    engine.fits("one row of factors", row_bytes)?;
    let longest = longest_row(engine, quads, threads as usize, solve.steps)
        .min(engine.limits().binding_bytes / 8)
        .min(if resident.is_none() {
            engine.limits().binding_bytes / row_bytes
        } else {
            u64::MAX
        }) as usize;
    let long = solve_long_rows(fixed, interactions, solve, x, longest)?;
    let mut chunks = Chunks::new(engine, interactions, row_bytes, resident.is_none(), longest);
    let mut pace = Pace::new(engine.limits());
    while let Some(chunk) = chunks.next(solve.alpha) {
        let rows = chunk.first..chunk.first + chunk.indptr.len() - 1;
        let gathered;
        let table = match &resident {
            Some(table) => table,
            None => {
                gathered = engine.upload("gathered factors", &gather(fixed, &chunk.wanted))?;
                &gathered
            }
        };
        let indptr = engine.upload("row offsets", &chunk.indptr)?;
        let entries = engine.upload("interactions", &chunk.entries)?;
        let solution = engine.upload("factors", &pad(x.rows_view(rows.clone())))?;
        let mut at = 0;
        while at < rows.len() {
            let flops = |n: usize| {
                let entries = chunk.indptr[at + n] - chunk.indptr[at];
                let per_step =
                    16.0 * quads as f64 * f64::from(entries) + 32.0 * (n * quads * quads) as f64;
                per_step * (solve.steps + 1) as f64
            };
            let most = (rows.len() - at).min(engine.limits().groups as usize);
            let count = partition_point(most, |n| flops(n) <= pace.budget());
            let params = Params {
                rows: count as u32,
                first_row: at as u32,
                steps: solve.steps as u32,
            };
            let spent = engine.dispatch(
                "solving rows",
                &pipeline,
                &params,
                &[
                    (1, table),
                    (2, &gram),
                    (3, &indptr),
                    (4, &entries),
                    (5, &solution),
                ],
                [count as u32, 1],
            )?;
            pace.learn(flops(count), spent);
            at += count;
        }
        let solved: Vec<f32> = engine.read("reading factors", &solution, 4 * quads * rows.len())?;
        let out = &mut x.data_mut()[rows.start * dim..rows.end * dim];
        for (out, row) in out
            .chunks_exact_mut(dim)
            .zip(solved.chunks_exact(4 * quads))
        {
            out.copy_from_slice(&row[..dim]);
        }
    }
    for (row, solved) in long {
        x.data_mut()[row * dim..(row + 1) * dim].copy_from_slice(&solved);
    }
    Ok(())
}

/// Entries that a workgroup can go through within the adapter's loop iterations: see `als_cg.wgsl`.
fn longest_row(engine: &Engine, quads: usize, threads: usize, steps: usize) -> u64 {
    let owned = quads.div_ceil(threads);
    // Besides the sums: setting up, five passes over owned columns and three reductions per step.
    let per_pass = (owned * (quads + 8) + 64) as u64;
    let per_tile = (quads + owned * (threads + 1) + 1) as u64;
    let passes = steps as u64 + 2;
    let tiles = (engine.limits().iterations / passes).saturating_sub(per_pass) / per_tile;
    tiles.saturating_mul(threads as u64).min(LONGEST_ROW)
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

fn gather(fixed: MatrixView<'_>, wanted: &[u32]) -> Vec<f32> {
    let (dim, width) = (fixed.cols(), 4 * quads(fixed.cols()));
    let mut out = vec![0.0; wanted.len() * width];
    for (out, &row) in out.chunks_exact_mut(width).zip(wanted) {
        out[..dim].copy_from_slice(fixed.row(row as usize));
    }
    out
}

/// Consecutive rows that fit the adapter together.
struct Chunk {
    first: usize,
    /// `[rows + 1]`, from 0.
    indptr: Vec<u32>,
    /// `(row of the table, bits of c − 1)`.
    entries: Vec<[u32; 2]>,
    /// Rows of the fixed side to gather, in the order of their new numbers.
    wanted: Vec<u32>,
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
        let mut chunk = Chunk {
            first: self.next,
            indptr: vec![0],
            entries: Vec::new(),
            wanted: Vec::new(),
        };
        while self.next < self.interactions.rows() && chunk.indptr.len() <= self.most_rows {
            let (columns, values) = self.interactions.row(self.next);
            if columns.len() <= self.longest {
                if chunk.entries.len() + columns.len() > self.most_entries {
                    break;
                }
                match &mut self.places {
                    None => chunk.entries.extend(
                        columns
                            .iter()
                            .zip(values)
                            .map(|(&c, &w)| [c, (alpha * w).to_bits()]),
                    ),
                    Some(places) => {
                        let known = |c: &&u32| places[**c as usize].0 == self.chunk;
                        let new = columns.len() - columns.iter().filter(known).count();
                        if chunk.wanted.len() + new > self.most_wanted {
                            break;
                        }
                        for (&c, &w) in columns.iter().zip(values) {
                            let place = &mut places[c as usize];
                            if place.0 != self.chunk {
                                *place = (self.chunk, chunk.wanted.len() as u32);
                                chunk.wanted.push(c);
                            }
                            chunk.entries.push([place.1, (alpha * w).to_bits()]);
                        }
                    }
                }
            }
            chunk.indptr.push(chunk.entries.len() as u32);
            self.next += 1;
        }
        Some(chunk)
    }
}
