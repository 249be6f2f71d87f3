//! A table in training: on the device, or, where that cannot hold it, in the host's memory, from which each step takes
//! the rows that its batch touches.

use super::engine::Engine;
use super::{pad, quads};
use crate::compute::training::Plan;
use crate::compute::{ComputeError, Matrix};

/// A table with its optimiser state.
pub(super) struct Table {
    pub rows: usize,
    dim: usize,
    store: Store,
    /// `[rows]`: how often each has moved.
    steps: Vec<u32>,
}

enum Store {
    /// Vectors and two states; a state that the optimiser does not keep is one vec4 long.
    Resident([wgpu::Buffer; 3]),
    /// Vectors and the states kept, each `[rows, 4·quads]`.
    Paged(Vec<Vec<f32>>),
}

/// What a step needs of a table.
pub(super) struct Page {
    /// Vectors and two states: of the whole table, or of the plan's rows alone.
    pub buffers: [wgpu::Buffer; 3],
    pub plan: Plan,
    /// `[plan.rows]`: which row of the buffers each is.
    pub places: Vec<u32>,
}

impl Table {
    /// `states` vectors of optimiser state go with each row.
    pub fn new(
        engine: &Engine,
        what: &'static str,
        table: &Matrix,
        states: usize,
    ) -> Result<Self, ComputeError> {
        let data = pad(table.view());
        let resident = || {
            let bytes = size_of_val(&data[..]) as u64;
            let state = |n: usize| engine.zeroed(what, if states >= n { bytes } else { 16 });
            Ok([engine.upload(what, &data)?, state(1)?, state(2)?])
        };
        let store = match resident() {
            Ok(buffers) => Store::Resident(buffers),
            Err(ComputeError::TooLarge { .. } | ComputeError::OutOfMemory { .. }) => {
                let length = data.len();
                let mut arrays = vec![data.into_owned()];
                arrays.extend((0..states).map(|_| vec![0.0; length]));
                Store::Paged(arrays)
            }
            Err(error) => return Err(error),
        };
        Ok(Self {
            rows: table.rows(),
            dim: table.cols(),
            store,
            steps: vec![0; table.rows()],
        })
    }

    /// Plans a batch that names the rows `ids`, and brings them to the device.
    pub fn page(
        &mut self,
        engine: &Engine,
        ids: impl Iterator<Item = u32>,
    ) -> Result<Page, ComputeError> {
        let plan = Plan::new(ids, &mut self.steps);
        let (buffers, places) = match &self.store {
            Store::Resident(buffers) => (buffers.clone(), plan.rows.clone()),
            Store::Paged(arrays) => {
                let width = 4 * quads(self.dim);
                let buffer = |n: usize| {
                    let mut rows = Vec::new();
                    if let Some(array) = arrays.get(n) {
                        rows.reserve_exact(plan.rows.len() * width);
                        for &row in &plan.rows {
                            rows.extend_from_slice(&array[row as usize * width..][..width]);
                        }
                    }
                    engine.upload("rows of the batch", &rows)
                };
                let buffers = [buffer(0)?, buffer(1)?, buffer(2)?];
                (buffers, (0..plan.rows.len() as u32).collect())
            }
        };
        Ok(Page {
            buffers,
            plan,
            places,
        })
    }

    /// Takes back the rows that a step has moved.
    pub fn take_back(&mut self, engine: &Engine, page: &Page) -> Result<(), ComputeError> {
        let Store::Paged(arrays) = &mut self.store else {
            return Ok(());
        };
        let width = 4 * quads(self.dim);
        for (array, buffer) in arrays.iter_mut().zip(&page.buffers) {
            let count = page.plan.rows.len() * width;
            let moved: Vec<f32> = engine.read("reading rows of the batch", buffer, count)?;
            for (&row, moved) in page.plan.rows.iter().zip(moved.chunks_exact(width)) {
                array[row as usize * width..][..width].copy_from_slice(moved);
            }
        }
        Ok(())
    }

    /// The vectors as they are now.
    pub fn matrix(&self, engine: &Engine) -> Result<Matrix, ComputeError> {
        let width = 4 * quads(self.dim);
        let read;
        let padded = match &self.store {
            Store::Resident([data, ..]) => {
                read = engine.read("reading embeddings", data, self.rows * width)?;
                &read
            }
            Store::Paged(arrays) => &arrays[0],
        };
        let mut out = Matrix::zeros(self.rows, self.dim);
        for (out, row) in out
            .data_mut()
            .chunks_exact_mut(self.dim.max(1))
            .zip(padded.chunks_exact(width))
        {
            out.copy_from_slice(&row[..self.dim]);
        }
        Ok(out)
    }
}

impl Page {
    /// `[ids of the batch]`: `(row of the buffers, row of the table)`.
    pub fn ids(&self) -> Vec<[u32; 2]> {
        let plan = &self.plan;
        let mut out = vec![[0; 2]; plan.occurrences.len()];
        for (at, (&row, &place)) in plan.rows.iter().zip(&self.places).enumerate() {
            for &occurrence in
                &plan.occurrences[plan.starts[at] as usize..plan.starts[at + 1] as usize]
            {
                out[occurrence as usize] = [place, row];
            }
        }
        out
    }
}
