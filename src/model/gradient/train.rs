//! The training loop: passes over the samples, a falling rate, and stopping early.

use std::time::Instant;

use super::sample::{Drawn, Sampler};
use super::{Goal, Options, Sampling};
use crate::compute::{Batch, Device, MOST_SAMPLES, Matrix, Recipe};
use crate::evaluate::held_out::HeldOut;
use crate::features::csr::Csr;
use crate::model::check_weights;
use crate::model::fitted::{check_finite, to_unit_length};
use crate::model::random::Stream;
use crate::model::{Examples, Factors, Fitted, Held, ModelError, Progress, warm};

/// Purposes of random numbers.
const USERS: u64 = 3;
const ITEMS: u64 = 4;
/// Standard deviation of a first embedding's elements.
const SPREAD: f64 = 0.1;

/// What to change when embeddings are not finite.
const REMEDY: &str = "Lower the learning_rate or raise l2";

pub(super) fn train(
    device: &dyn Device,
    examples: &Examples<'_>,
    goal: Goal,
    options: &Options,
    observer: &mut dyn FnMut(Progress),
) -> Result<Fitted, ModelError> {
    check(examples.weights, options)?;
    let training = Training {
        device,
        goal,
        options,
        former: examples.start,
        held: &[],
        start: Instant::now(),
    };
    if options.validation == 0.0 {
        let (_, fitted) = training.run(examples.weights, options.epochs, None, observer)?;
        return Ok(fitted);
    }
    let held = hold_out(examples, options)?;
    let known = held.examples().weights;
    let (best, _) = training.run(known, options.epochs, Some(&held), observer)?;
    drop(held);
    let (_, fitted) = training.run(examples.weights, best, None, observer)?;
    Ok(fitted)
}

/// Holds back what passes are judged by.
fn hold_out(examples: &Examples<'_>, options: &Options) -> Result<HeldOut, ModelError> {
    let share = options.validation;
    let held = HeldOut::new(examples, f64::from(share), options.seed)
        .map_err(|error| ModelError::Interactions(error.to_string()))?;
    held.ok_or_else(|| {
        ModelError::Interactions(format!(
            "validation = {share} of {} interactions holds back nothing of a user and an item that others know: write \
             another share, or 0 to train a fixed number of passes",
            examples.weights.nnz()
        ))
    })
}

/// Samples are numbered with `u32`.
fn check_count(samples: usize) -> Result<(), ModelError> {
    if samples > u32::MAX as usize {
        return Err(ModelError::Interactions(format!(
            "{samples} interactions are more than a model trained by gradient can number ({}); take fewer days",
            u32::MAX
        )));
    }
    Ok(())
}

/// Passes of a fold-in at most.
const FOLD_IN_PASSES: usize = 5;

/// Some passes over all interactions that move users and those items that are not held, with a schedule of their own.
pub(super) fn fold_in(
    device: &dyn Device,
    examples: &Examples<'_>,
    held: &Held<'_>,
    goal: Goal,
    options: &Options,
    observer: &mut dyn FnMut(Progress),
) -> Result<Fitted, ModelError> {
    check(examples.weights, options)?;
    let start = held.start(examples.weights);
    let training = Training {
        device,
        goal,
        options: &Options {
            epochs: options.epochs.min(FOLD_IN_PASSES),
            ..*options
        },
        former: Some(&start),
        held: held.mask(),
        start: Instant::now(),
    };
    let last = training.options.epochs;
    let (_, fitted) = training.run(examples.weights, last, None, observer)?;
    Ok(fitted)
}

fn check(weights: &Csr, options: &Options) -> Result<(), ModelError> {
    check_weights(weights)?;
    if weights.cols() < 2 || weights.values().iter().all(|&w| w == 0.0) {
        return Err(ModelError::Interactions(
            "a model trained by gradient needs interactions with at least two items".into(),
        ));
    }
    let items = weights.cols();
    if options.sampling == Sampling::All && items > MOST_SAMPLES {
        return Err(ModelError::Interactions(format!(
            "sampling = \"all\" takes up to {MOST_SAMPLES} items, and there are {items}: write \"uniform\""
        )));
    }
    check_count(weights.nnz())
}

struct Training<'a> {
    device: &'a dyn Device,
    goal: Goal,
    options: &'a Options,
    former: Option<&'a Factors>,
    /// `[items]`: whose vectors stand; empty where all are learnt.
    held: &'a [bool],
    start: Instant,
}

impl Training<'_> {
    /// Trains to the pass `last`, or with `held` until what is held back no longer gets better. Returns the best pass and its
    /// embeddings. A warm start continues the schedule where its last third begins.
    fn run(
        &self,
        interactions: &Csr,
        last: usize,
        held: Option<&HeldOut>,
        observer: &mut dyn FnMut(Progress),
    ) -> Result<(usize, Fitted), ModelError> {
        let options = self.options;
        let sampler = Sampler::new(interactions, options, self.goal.ratings);
        let [mut users, mut items] = [(interactions.rows(), USERS), (interactions.cols(), ITEMS)]
            .map(|(rows, purpose)| initial(rows, options, purpose));
        let mut done = 0;
        if let Some(former) = self.former {
            warm::lay_over(&former.users, &mut users)?;
            warm::lay_over(&former.items, &mut items)?;
            if self.held.is_empty() {
                done = options.epochs - warm::passes(options.epochs);
            }
        }
        let recipe = Recipe {
            loss: self.goal.loss,
            cosine: options.cosine,
            optimizer: options.optimizer,
            l2: options.l2,
            l1: options.l1,
            dropout: options.dropout,
            seed: options.seed,
        };
        let mut trainer = self.device.trainer(&users, &items, recipe)?;
        // It has its own: at millions of rows a second pair is gigabytes.
        drop((users, items));
        // The rate falls over the passes that were asked for, wherever training stops.
        let steps = sampler.steps() * options.epochs;
        let mut drawn = Drawn::default();
        let mut best: Option<(f64, usize, Fitted)> = None;
        for pass in done + 1..=last {
            let order = sampler.order(pass);
            for step in 0..sampler.steps() {
                let total = (pass - 1) * sampler.steps() + step;
                sampler.draw(&order, step, total, &mut drawn);
                let batch = Batch {
                    users: &drawn.users,
                    items: &drawn.items,
                    weights: &drawn.weights,
                    targets: &drawn.targets,
                    negatives: &drawn.negatives,
                    corrections: &drawn.corrections,
                    held: self.held,
                };
                trainer.step(&batch, options.rate(total, steps))?;
            }
            let losses: f64 = trainer.losses()?.iter().sum();
            let judged = match held {
                None => None,
                Some(held) => {
                    let factors = Fitted::Factors(self.serve(trainer.tables()?, interactions)?);
                    let value = held.ndcg::<ModelError>(self.device, &factors)?;
                    if best.as_ref().is_none_or(|(before, ..)| value > *before) {
                        best = Some((value, pass, factors));
                    }
                    Some(value)
                }
            };
            observer(Progress {
                pass: pass - done,
                seconds: self.start.elapsed().as_secs_f64(),
                loss: Some(losses / sampler.steps() as f64),
                validation: judged,
            });
            if best
                .as_ref()
                .is_some_and(|&(_, at, _)| pass - at >= options.patience)
            {
                break;
            }
        }
        match best {
            Some((_, pass, fitted)) => Ok((pass, fitted)),
            None => Ok((
                last,
                Fitted::Factors(self.serve(trainer.tables()?, interactions)?),
            )),
        }
    }

    /// Embeddings as they are served: scaled where the loss saw them scaled, zero for whom nothing is known of.
    fn serve(
        &self,
        (mut users, mut items): (Matrix, Matrix),
        interactions: &Csr,
    ) -> Result<Factors, ModelError> {
        let mut known = vec![false; items.rows()];
        interactions
            .indices()
            .iter()
            .for_each(|&item| known[item as usize] = true);
        let has_any = |user: usize| !interactions.row(user).0.is_empty();
        self.finish(&mut users, has_any, &[])?;
        self.finish(&mut items, |item| known[item], self.held)?;
        Ok(Factors { users, items })
    }

    /// Rows that are `held` came as they are served.
    fn finish(
        &self,
        table: &mut Matrix,
        known: impl Fn(usize) -> bool,
        held: &[bool],
    ) -> Result<(), ModelError> {
        check_finite(table, REMEDY)?;
        let dim = table.cols();
        for (at, row) in table.data_mut().chunks_exact_mut(dim).enumerate() {
            if !known(at) {
                row.fill(0.0);
            } else if self.options.cosine && !held.get(at).is_some_and(|&held| held) {
                to_unit_length(row);
            }
        }
        Ok(())
    }
}

/// Uniform around 0; every element from its own place.
fn initial(rows: usize, options: &Options, purpose: u64) -> Matrix {
    let stream = Stream::new(options.seed, purpose);
    let width = SPREAD * 12f64.sqrt();
    let mut table = Matrix::zeros(rows, options.dim);
    for (place, value) in table.data_mut().iter_mut().enumerate() {
        *value = ((stream.uniform(place as u64) - 0.5) * width) as f32;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_interactions_than_can_be_numbered_are_refused() {
        assert!(check_count(4_294_967_295).is_ok());
        let error = check_count(4_294_967_296).map_err(|error| error.to_string());
        assert!(error.is_err_and(|text| text.contains("4294967296 interactions")));
    }
}
