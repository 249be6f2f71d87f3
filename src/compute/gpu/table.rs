//! A table in training: on the device, or, where that cannot hold it, in the host's memory, from which each step takes
//! the rows that its batch touches.

use super::engine::Engine;
use super::scratch::Scratch;
use super::{quads, read_rows, upload_rows};
use crate::compute::training::Plan;
use crate::compute::{ComputeError, Matrix};

/// A table with its optimiser state.
pub(super) struct Table {
    pub rows: usize,
    dim: usize,
    store: Store,
    /// `[rows]`: how often each has moved.
    steps: Vec<u32>,
    /// What steps need beside the table.
    pub scratch: Scratch,
}

enum Store {
    /// Vectors and two states; a state that the optimiser does not keep is one vec4 long.
    Resident([wgpu::Buffer; 3]),
    /// Vectors and the states kept, each `[rows, 4·quads]`.
    Paged(Vec<Vec<f32>>),
}

/// What a step needs of a table.
pub(super) struct Page {
    /// Vectors and two states: of the whole table, or of the batch's rows alone.
    pub buffers: [wgpu::Buffer; 3],
    /// vec4s of a row.
    pub quads: usize,
    pub plan: Plan,
    /// `[plan.rows]`: which row of the buffers each is.
    pub places: Vec<u32>,
    /// `[ids of the batch]`: `[row of the buffers, row of the table]`.
    pub ids: Vec<[u32; 2]>,
    /// The rows of the table that the buffers hold, ascending; `None` where they hold it all.
    rows: Option<Vec<u32>>,
}

impl Table {
    /// `states` vectors of optimiser state go with each row.
    pub fn new(
        engine: &Engine,
        what: &'static str,
        table: &Matrix,
        states: usize,
    ) -> Result<Self, ComputeError> {
        let width = 4 * quads(table.cols());
        let resident = || {
            let bytes = (4 * table.rows() * width) as u64;
            let state = |n: usize| engine.zeroed(what, if states >= n { bytes } else { 16 });
            Ok([
                upload_rows(engine, what, table.view())?,
                state(1)?,
                state(2)?,
            ])
        };
        let store = match resident() {
            Ok(buffers) => Store::Resident(buffers),
            Err(ComputeError::TooLarge { .. } | ComputeError::OutOfMemory { .. }) => {
                let mut arrays = vec![vec![0.0; table.rows() * width]; 1 + states];
                for (row, padded) in arrays[0].chunks_exact_mut(width).enumerate() {
                    padded[..table.cols()].copy_from_slice(table.row(row));
                }
                Store::Paged(arrays)
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            rows: table.rows(),
            dim: table.cols(),
            store,
            steps: vec![0; table.rows()],
            scratch: Scratch::default(),
        })
    }

    /// Plans a batch that names the rows `ids`, of which those that are `held` do not move, and brings them to the device.
    pub fn page(
        &mut self,
        engine: &Engine,
        ids: impl Iterator<Item = u32> + Clone,
        held: &[bool],
    ) -> Result<Page, ComputeError> {
        let plan = Plan::new(ids.clone(), held, &mut self.steps);
        let (buffers, rows) = match &self.store {
            Store::Resident(buffers) => (buffers.clone(), None),
            Store::Paged(arrays) => {
                let mut rows: Vec<u32> = ids.clone().collect();
                rows.sort_unstable();
                rows.dedup();
                let width = 4 * quads(self.dim);
                let buffer = |n: usize| {
                    let mut sent = Vec::new();
                    if let Some(array) = arrays.get(n) {
                        sent.reserve_exact(rows.len() * width);
                        for &row in &rows {
                            sent.extend_from_slice(&array[row as usize * width..][..width]);
                        }
                    }
                    engine.upload("rows of the batch", &sent)
                };
                ([buffer(0)?, buffer(1)?, buffer(2)?], Some(rows))
            }
        };
        // Ascending, so that sums keep their order.
        let place = |row: u32| match &rows {
            None => row,
            Some(rows) => rows.partition_point(|&other| other < row) as u32,
        };
        Ok(Page {
            places: plan.rows.iter().map(|&row| place(row)).collect(),
            ids: ids.map(|row| [place(row), row]).collect(),
            buffers,
            quads: quads(self.dim),
            plan,
            rows,
        })
    }

    /// Takes back the rows that a step has moved.
    pub fn take_back(&mut self, engine: &Engine, page: &Page) -> Result<(), ComputeError> {
        let (Store::Paged(arrays), Some(rows)) = (&mut self.store, &page.rows) else {
            return Ok(());
        };
        let width = 4 * quads(self.dim);
        for (array, buffer) in arrays.iter_mut().zip(&page.buffers) {
            let count = rows.len() * width;
            let moved: Vec<f32> = engine.read("reading rows of the batch", buffer, 0, count)?;
            for (&row, moved) in rows.iter().zip(moved.chunks_exact(width)) {
                array[row as usize * width..][..width].copy_from_slice(moved);
            }
        }
        Ok(())
    }

    /// The vectors as they are now.
    pub fn matrix(&self, engine: &Engine) -> Result<Matrix, ComputeError> {
        let mut out = Matrix::zeros(self.rows, self.dim);
        match &self.store {
            Store::Resident([data, ..]) => {
                read_rows(engine, "reading embeddings", data, self.dim, out.data_mut())?;
            }
            Store::Paged(arrays) => {
                let rows = arrays[0].chunks_exact(4 * quads(self.dim));
                for (row, padded) in rows.enumerate() {
                    out.row_mut(row).copy_from_slice(&padded[..self.dim]);
                }
            }
        }
        Ok(out)
    }
}
