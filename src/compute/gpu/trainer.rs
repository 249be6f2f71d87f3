//! Training on the GPU: a batch's ids and plan go there, and of a table that stays outside the rows that it touches.

use super::engine::{Commands, Engine, Kernel, SUBMISSION_FLOPS};
use super::quads;
use super::scratch::Scratch;
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
    scratch: Scratch,
    steps: u32,
    outcomes: Outcomes,
}

/// Outcomes of some steps, kept on the device so that not every step waits for its own.
struct Outcomes {
    /// One step's behind the other, each a slope and a loss per sample.
    buffer: wgpu::Buffer,
    /// Samples of each step there.
    samples: Vec<usize>,
    /// Mean losses of the steps before them.
    losses: Vec<f64>,
}

/// Samples whose outcomes are kept, at least as many as a batch may have.
const OUTCOMES: usize = 1 << 17;

impl Outcomes {
    fn new(engine: &Engine) -> Result<Self, ComputeError> {
        Ok(Self {
            buffer: engine.unbound("outcomes", (8 * OUTCOMES) as u64)?,
            samples: Vec::new(),
            losses: Vec::new(),
        })
    }

    /// Reads what is there, for which it waits, where there is no room for so many more samples.
    fn make_room(&mut self, engine: &Engine, samples: usize) -> Result<(), ComputeError> {
        if self.samples.iter().sum::<usize>() + samples > OUTCOMES {
            self.read(engine)?;
        }
        Ok(())
    }

    /// Keeps what a step has found.
    fn keep(
        &mut self,
        commands: &mut Commands<'_>,
        outcome: &wgpu::Buffer,
        samples: usize,
    ) -> Result<(), ComputeError> {
        let at = 8 * self.samples.iter().sum::<usize>();
        self.samples.push(samples);
        let to = (&self.buffer, at as u64);
        commands.copy("keeping losses", outcome, to, (8 * samples) as u64)
    }

    fn read(&mut self, engine: &Engine) -> Result<(), ComputeError> {
        let samples = std::mem::take(&mut self.samples);
        let all: Vec<[f32; 2]> =
            engine.read("reading losses", &self.buffer, 0, samples.iter().sum())?;
        let mut rest = &all[..];
        for samples in samples {
            let (step, others) = rest.split_at(samples);
            let sum: f64 = step.iter().map(|o| f64::from(o[1])).sum();
            self.losses.push(sum / samples as f64);
            rest = others;
        }
        Ok(())
    }
}

/// Threads of the workgroups that take one row each.
fn threads(quads: usize) -> u32 {
    (quads.next_power_of_two() as u32).clamp(64, 256)
}

/// Runs a kernel of one workgroup per row, as many at a time as the adapter allows.
fn by_rows<P: bytemuck::Pod>(
    commands: &mut Commands<'_>,
    what: &'static str,
    pipeline: &wgpu::ComputePipeline,
    rows: usize,
    params: impl Fn(u32) -> P,
    buffers: &[(u32, &wgpu::Buffer)],
) -> Result<(), ComputeError> {
    let most = commands.engine().limits().groups as usize;
    for first in (0..rows).step_by(most) {
        let groups = [most.min(rows - first) as u32, 1];
        commands.dispatch(what, pipeline, &params(first as u32), buffers, groups)?;
    }
    Ok(())
}

/// `out = left · right`, or `out += left · right` when `params` says so; `params` leaves the first row open.
fn multiply(
    commands: &mut Commands<'_>,
    what: &'static str,
    params: product::Params,
    [left, right, out]: [&wgpu::Buffer; 3],
) -> Result<(), ComputeError> {
    let engine = commands.engine();
    let kernel = Kernel {
        source: product::WGSL,
        entry: "multiply",
    };
    let pipeline = engine.pipeline(kernel, &[])?;
    let (wide, tall) = (params.quads.div_ceil(16), params.rows.div_ceil(64) as usize);
    // Of 64 rows.
    let flops = 2.0 * 64.0 * f64::from(params.depth) * f64::from(4 * params.quads);
    let most = (engine.limits().groups as usize).min((SUBMISSION_FLOPS / flops) as usize + 1);
    for first in (0..tall).step_by(most) {
        let params = product::Params {
            first_row: 64 * first as u32,
            ..params
        };
        let count = most.min(tall - first);
        commands.dispatch(
            what,
            &pipeline,
            &params,
            &[(1, left), (2, right), (3, out)],
            [wide, count as u32],
        )?;
        commands.counts(count as f64 * flops);
    }
    Ok(())
}

/// Names of the buffers of a kind of vectors: ids, vectors, and vectors transposed.
type Names = [&'static str; 3];

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
            scratch: Scratch::default(),
            steps: 0,
            outcomes: Outcomes::new(engine)?,
        })
    }

    fn embed(
        &mut self,
        commands: &mut Commands<'_>,
        page: &Page,
        ids: &[[u32; 2]],
        (key, width): (u32, usize),
        names: Names,
    ) -> Result<[wgpu::Buffer; 2], ComputeError> {
        let (engine, scratch) = (self.engine, &mut self.scratch);
        let kernel = Kernel {
            source: embed::WGSL,
            entry: "embed",
        };
        let pipeline = engine.pipeline(kernel, &[])?;
        let uploaded = scratch.upload(engine, names[0], ids)?;
        let rows = scratch.room(engine, names[1], (16 * self.quads * ids.len()) as u64)?;
        let across = scratch.room(engine, names[2], (16 * self.quads * width) as u64)?;
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
        by_rows(
            commands,
            "gathering vectors",
            &pipeline,
            ids.len(),
            params,
            &buffers,
        )?;
        Ok([rows, across])
    }
}

/// Gathers the gradients of one table's rows and moves them. `sources` are what samples and negatives give.
fn update(
    commands: &mut Commands<'_>,
    recipe: &Recipe,
    scratch: &mut Scratch,
    page: &Page,
    (samples, is_users, key, rate): (usize, bool, u32, f32),
    [from_samples, outcome, from_negatives]: [&wgpu::Buffer; 3],
) -> Result<(), ComputeError> {
    let engine = commands.engine();
    let plan = &page.plan;
    let [data, first_state, second_state] = &page.buffers;
    let rows = plan.rows.len();
    if rows == 0 {
        return Ok(());
    }
    let quads = page.quads;
    let parts = [&page.places, &plan.rows, &plan.starts, &plan.occurrences];
    let parts = parts.map(|part| &part[..]).concat();
    let uploaded = scratch.upload(engine, "plan of the batch", &parts)?;
    let scales = scratch.upload(engine, "corrections", &plan.scales)?;
    let gradient = scratch.room(engine, "gradients", (16 * quads * rows) as u64)?;
    let kernel = Kernel {
        source: gather_grad::WGSL,
        entry: "gather",
    };
    let pipeline = engine.pipeline(kernel, &[("THREADS", threads(quads))])?;
    let params = |first| gather_grad::Params {
        rows: rows as u32,
        samples: samples as u32,
        is_users: u32::from(is_users),
        quads: quads as u32,
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
    by_rows(
        commands,
        "gathering gradients",
        &pipeline,
        rows,
        params,
        &buffers,
    )?;
    let kernel = Kernel {
        source: apply::WGSL,
        entry: "move_rows",
    };
    let pipeline = engine.pipeline(kernel, &[])?;
    let params = |first| apply::Params {
        rows: rows as u32,
        quads: quads as u32,
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
    by_rows(commands, "moving rows", &pipeline, rows, params, &buffers)
}

impl Trainer for GpuTrainer<'_> {
    fn step(&mut self, batch: &Batch<'_>, rate: f32) -> Result<(), ComputeError> {
        check(batch, self.users.rows, self.items.rows)?;
        let (engine, recipe) = (self.engine, self.recipe);
        self.steps = self.steps.wrapping_add(1);
        let [user_key, item_key] = [0, 1].map(|table| recipe.key(self.steps, table));
        let (samples, negatives) = (batch.users.len(), batch.negatives.len());
        self.outcomes.make_room(engine, samples)?;
        // Logits are made in vec4s.
        let width = negatives.next_multiple_of(4);
        let user_page = self.users.page(engine, batch.users.iter().copied(), &[])?;
        let ids = batch.items.iter().chain(batch.negatives).copied();
        let item_page = self.items.page(engine, ids, batch.held)?;
        let (own, drawn) = item_page.ids.split_at(samples);
        let mut commands = Commands::new(engine)?;
        let names = ["user ids", "user vectors", "user vectors, transposed"];
        let how = (user_key, 0);
        let [users, _] = self.embed(&mut commands, &user_page, &user_page.ids, how, names)?;
        let names = ["item ids", "item vectors", "item vectors, transposed"];
        let how = (item_key, 0);
        let [positives, _] = self.embed(&mut commands, &item_page, own, how, names)?;
        let names = [
            "negative ids",
            "negative vectors",
            "negative vectors, transposed",
        ];
        let how = (item_key, width);
        let [others, across] = self.embed(&mut commands, &item_page, drawn, how, names)?;

        let (quads, side) = (self.quads as u32, 4 * self.quads as u32);
        let scratch = &mut self.scratch;
        let logits = scratch.room(engine, "logits", (4 * samples * width) as u64)?;
        let params = product::Params {
            rows: samples as u32,
            depth: side,
            quads: width as u32 / 4,
            row_stride: side,
            depth_stride: 1,
            add: 0,
            first_row: 0,
        };
        let factors = [&users, &across, &logits];
        multiply(&mut commands, "scoring negatives", params, factors)?;

        let samples_of: Vec<[u32; 4]> = (0..samples)
            .map(|at| {
                let floats = [batch.weights[at], batch.target(at)].map(f32::to_bits);
                [batch.items[at], floats[0], floats[1], 0]
            })
            .collect();
        let taken = scratch.upload(engine, "samples", &samples_of)?;
        let negatives_of: Vec<[u32; 2]> = batch
            .negatives
            .iter()
            .zip(batch.corrections)
            .map(|(&item, correction)| [item, correction.to_bits()])
            .collect();
        let drawn = scratch.upload(engine, "negatives", &negatives_of)?;
        let outcome = scratch.room(engine, "outcome", (8 * samples) as u64)?;
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
        by_rows(
            &mut commands,
            "losses",
            &pipeline,
            samples,
            params,
            &buffers,
        )?;
        self.outcomes.keep(&mut commands, &outcome, samples)?;

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
        let factors = [&logits, &others, &user_gradient];
        multiply(&mut commands, "gradients of users", params, factors)?;
        let params = product::Params {
            rows: negatives as u32,
            depth: samples as u32,
            row_stride: 1,
            depth_stride: width as u32,
            add: 0,
            ..params
        };
        let bytes = (16 * self.quads * negatives) as u64;
        let negative_gradient = scratch.room(engine, "gradients of negatives", bytes)?;
        let factors = [&logits, &users, &negative_gradient];
        multiply(&mut commands, "gradients of negatives", params, factors)?;

        let how = (samples, true, user_key, rate);
        let sources = [&user_gradient, &outcome, &negative_gradient];
        let scratch = &mut self.users.scratch;
        update(&mut commands, &recipe, scratch, &user_page, how, sources)?;
        let how = (samples, false, item_key, rate);
        let sources = [&users, &outcome, &negative_gradient];
        let scratch = &mut self.items.scratch;
        update(&mut commands, &recipe, scratch, &item_page, how, sources)?;
        commands.submit()?;
        self.users.take_back(engine, &user_page)?;
        self.items.take_back(engine, &item_page)
    }

    fn losses(&mut self) -> Result<Vec<f64>, ComputeError> {
        self.outcomes.read(self.engine)?;
        Ok(std::mem::take(&mut self.outcomes.losses))
    }

    fn tables(&self) -> Result<(Matrix, Matrix), ComputeError> {
        let engine = self.engine;
        Ok((self.users.matrix(engine)?, self.items.matrix(engine)?))
    }
}
