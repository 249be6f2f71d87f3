//! Training on the GPU: a batch's ids and plan go there, and of a table that stays outside the rows that it touches.

use super::engine::{Engine, Kernel};
use super::quads;
use super::table::{Page, Table};
use crate::compute::kernels::{apply, embed, gather_grad, product, sample_loss};
use crate::compute::training::{Batch, Recipe, Trainer, check};
use crate::compute::{ComputeError, Matrix};

pub(super) struct GpuTrainer<'a> {
    engine: &'a Engine,
    recipe: Recipe,
    quads: usize,
    users: Table,
    items: Table,
    steps: u32,
}

/// Threads of the workgroups that take one row each.
fn threads(quads: usize) -> u32 {
    (quads.next_power_of_two() as u32).clamp(64, 256)
}

impl<'a> GpuTrainer<'a> {
    pub fn new(
        engine: &'a Engine,
        users: &Matrix,
        items: &Matrix,
        recipe: Recipe,
    ) -> Result<Self, ComputeError> {
        let states = recipe.states();
        Ok(Self {
            engine,
            recipe,
            quads: quads(users.cols()),
            users: Table::new(engine, "user embeddings", users, states)?,
            items: Table::new(engine, "item embeddings", items, states)?,
            steps: 0,
        })
    }

    /// Runs a kernel of one workgroup per row, as many at a time as the adapter allows.
    fn by_rows<P: bytemuck::Pod>(
        &self,
        what: &'static str,
        pipeline: &wgpu::ComputePipeline,
        rows: usize,
        params: impl Fn(u32) -> P,
        buffers: &[(u32, &wgpu::Buffer)],
    ) -> Result<(), ComputeError> {
        let most = self.engine.limits().groups as usize;
        for first in (0..rows).step_by(most) {
            let groups = [most.min(rows - first) as u32, 1];
            self.engine
                .dispatch(what, pipeline, &params(first as u32), buffers, groups)?;
        }
        Ok(())
    }

    fn embed(
        &self,
        page: &Page,
        ids: &[[u32; 2]],
        key: u32,
        width: usize,
    ) -> Result<[wgpu::Buffer; 2], ComputeError> {
        let engine = self.engine;
        let kernel = Kernel {
            source: embed::WGSL,
            entry: "embed",
        };
        let pipeline = engine.pipeline(kernel, &[])?;
        let uploaded = engine.upload("ids", ids)?;
        let rows = engine.zeroed("vectors", (16 * self.quads * ids.len()) as u64)?;
        let across = engine.zeroed("vectors, transposed", (16 * self.quads * width) as u64)?;
        let params = |first| embed::Params {
            count: ids.len() as u32,
            quads: self.quads as u32,
            key,
            dropout: self.recipe.dropout,
            cosine: u32::from(self.recipe.cosine),
            width: width as u32,
            first,
        };
        let buffers = [
            (1, &page.buffers[0]),
            (2, &uploaded),
            (3, &rows),
            (4, &across),
        ];
        self.by_rows("gathering vectors", &pipeline, ids.len(), params, &buffers)?;
        Ok([rows, across])
    }

    /// `out = left · right`, or `out += left · right` when `params` says so; `params` leaves the first row open.
    fn multiply(
        &self,
        what: &'static str,
        params: product::Params,
        [left, right, out]: [&wgpu::Buffer; 3],
    ) -> Result<(), ComputeError> {
        let kernel = Kernel {
            source: product::WGSL,
            entry: "multiply",
        };
        let pipeline = self.engine.pipeline(kernel, &[])?;
        let most = self.engine.limits().groups as usize;
        let (wide, tall) = (params.quads.div_ceil(16), params.rows.div_ceil(64) as usize);
        for first in (0..tall).step_by(most) {
            let params = product::Params {
                first_row: 64 * first as u32,
                ..params
            };
            self.engine.dispatch(
                what,
                &pipeline,
                &params,
                &[(1, left), (2, right), (3, out)],
                [wide, most.min(tall - first) as u32],
            )?;
        }
        Ok(())
    }

    /// Gathers the gradients of one table's rows and moves them. `sources` are what samples and negatives give.
    fn update(
        &self,
        page: &Page,
        (samples, is_users, key, rate): (usize, bool, u32, f32),
        [from_samples, outcome, from_negatives]: [&wgpu::Buffer; 3],
    ) -> Result<(), ComputeError> {
        let (engine, recipe, quads) = (self.engine, &self.recipe, self.quads as u32);
        let plan = &page.plan;
        let [data, first_state, second_state] = &page.buffers;
        let rows = plan.rows.len();
        if rows == 0 {
            return Ok(());
        }
        let parts = [&page.places, &plan.rows, &plan.starts, &plan.occurrences];
        let uploaded = engine.upload("plan of the batch", &parts.map(|part| &part[..]).concat())?;
        let scales = engine.upload("corrections", &plan.scales)?;
        let gradient = engine.zeroed("gradients", (16 * self.quads * rows) as u64)?;
        let kernel = Kernel {
            source: gather_grad::WGSL,
            entry: "gather",
        };
        let pipeline = engine.pipeline(kernel, &[("THREADS", threads(self.quads))])?;
        let params = |first| gather_grad::Params {
            rows: rows as u32,
            samples: samples as u32,
            is_users: u32::from(is_users),
            quads,
            key,
            dropout: recipe.dropout,
            cosine: u32::from(recipe.cosine),
            first,
        };
        let buffers = [
            (1, &uploaded),
            (2, from_samples),
            (3, outcome),
            (4, from_negatives),
            (5, data),
            (6, &gradient),
        ];
        self.by_rows("gathering gradients", &pipeline, rows, params, &buffers)?;
        let kernel = Kernel {
            source: apply::WGSL,
            entry: "move_rows",
        };
        let pipeline = engine.pipeline(kernel, &[])?;
        let params = |first| apply::Params {
            rows: rows as u32,
            quads,
            optimizer: apply::code(recipe.optimizer),
            rate,
            l2: recipe.l2,
            l1: recipe.l1,
            first,
        };
        let buffers = [
            (1, data),
            (2, first_state),
            (3, second_state),
            (4, &gradient),
            (5, &uploaded),
            (6, &scales),
        ];
        self.by_rows("moving rows", &pipeline, rows, params, &buffers)
    }
}

impl Trainer for GpuTrainer<'_> {
    fn step(&mut self, batch: &Batch<'_>, rate: f32) -> Result<f64, ComputeError> {
        check(batch, self.users.rows, self.items.rows)?;
        let (engine, recipe) = (self.engine, self.recipe);
        self.steps = self.steps.wrapping_add(1);
        let [user_key, item_key] = [0, 1].map(|table| recipe.key(self.steps, table));
        let (samples, negatives) = (batch.users.len(), batch.negatives.len());
        // Logits are made in vec4s.
        let width = negatives.next_multiple_of(4);
        let user_page = self.users.page(engine, batch.users.iter().copied(), &[])?;
        let ids = batch.items.iter().chain(batch.negatives).copied();
        let item_page = self.items.page(engine, ids, batch.held)?;
        let (own, drawn) = item_page.ids.split_at(samples);
        let [users, _] = self.embed(&user_page, &user_page.ids, user_key, 0)?;
        let [positives, _] = self.embed(&item_page, own, item_key, 0)?;
        let [others, across] = self.embed(&item_page, drawn, item_key, width)?;

        let (quads, side) = (self.quads as u32, 4 * self.quads as u32);
        let logits = engine.zeroed("logits", (4 * samples * width) as u64)?;
        let params = product::Params {
            rows: samples as u32,
            depth: side,
            quads: width as u32 / 4,
            row_stride: side,
            depth_stride: 1,
            add: 0,
            first_row: 0,
        };
        self.multiply("scoring negatives", params, [&users, &across, &logits])?;

        let samples_of: Vec<[u32; 4]> = (0..samples)
            .map(|at| {
                let floats = [batch.weights[at], batch.target(at)].map(f32::to_bits);
                [batch.items[at], floats[0], floats[1], 0]
            })
            .collect();
        let taken = engine.upload("samples", &samples_of)?;
        let negatives_of: Vec<[u32; 2]> = batch
            .negatives
            .iter()
            .zip(batch.corrections)
            .map(|(&item, correction)| [item, correction.to_bits()])
            .collect();
        let drawn = engine.upload("negatives", &negatives_of)?;
        let outcome = engine.zeroed("outcome", (8 * samples) as u64)?;
        let (loss, first, second) = sample_loss::code(recipe.loss);
        let kernel = Kernel {
            source: sample_loss::WGSL,
            entry: "slopes",
        };
        let pipeline = engine.pipeline(kernel, &[])?;
        let params = |first_sample| sample_loss::Params {
            samples: samples as u32,
            negatives: negatives as u32,
            width: width as u32,
            quads,
            loss,
            first,
            second,
            first_sample,
        };
        let buffers = [
            (1, &users),
            (2, &positives),
            (3, &taken),
            (4, &drawn),
            (5, &logits),
            (6, &outcome),
        ];
        self.by_rows("losses", &pipeline, samples, params, &buffers)?;
        let outcomes: Vec<[f32; 2]> = engine.read("reading losses", &outcome, samples)?;

        // dU = slopes · V + slope⁺ · P, whose second part `slopes` has left in place of P.
        let user_gradient = positives;
        let params = product::Params {
            rows: samples as u32,
            depth: negatives as u32,
            quads,
            row_stride: width as u32,
            depth_stride: 1,
            add: 1,
            first_row: 0,
        };
        self.multiply(
            "gradients of users",
            params,
            [&logits, &others, &user_gradient],
        )?;
        let params = product::Params {
            rows: negatives as u32,
            depth: samples as u32,
            row_stride: 1,
            depth_stride: width as u32,
            add: 0,
            ..params
        };
        let negative_gradient = engine.zeroed(
            "gradients of negatives",
            (16 * self.quads * negatives) as u64,
        )?;
        self.multiply(
            "gradients of negatives",
            params,
            [&logits, &users, &negative_gradient],
        )?;

        let how = (samples, true, user_key, rate);
        let sources = [&user_gradient, &outcome, &negative_gradient];
        self.update(&user_page, how, sources)?;
        let how = (samples, false, item_key, rate);
        let sources = [&users, &outcome, &negative_gradient];
        self.update(&item_page, how, sources)?;
        self.users.take_back(engine, &user_page)?;
        self.items.take_back(engine, &item_page)?;
        let sum: f64 = outcomes.iter().map(|o| f64::from(o[1])).sum();
        Ok(sum / samples as f64)
    }

    fn tables(&self) -> Result<(Matrix, Matrix), ComputeError> {
        let engine = self.engine;
        Ok((self.users.matrix(engine)?, self.items.matrix(engine)?))
    }
}
