//! One trial after the other: what to try next follows from what was found, so a search that was cut off goes on where it
//! stopped.

use std::time::Instant;

use chrono::{DateTime, Utc};
use toml::{Table, Value};

use super::halving::Plan;
use super::space::Space;
use crate::compute::Device;
use crate::error::{Error, Result};
use crate::evaluate::bootstrap::{Estimate, SEED};
use crate::evaluate::evaluation::{Evaluation, Judged};
use crate::evaluate::held_out::HeldOut;
use crate::evaluate::judge::judge;
use crate::evaluate::metric::Metric;
use crate::model::{Family, ModelError};
use crate::pipeline::meter::cpu_ns;

/// A metric at a list length, 0 for the whole ranking.
pub type Target = (Metric, usize);

/// A search over a space.
pub struct Search {
    family: Family,
    plan: Plan,
    target: Target,
    /// By the number of the trial; the first is what the model has now.
    settings: Vec<Table>,
}

/// What is to be tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    /// From 0.
    pub rung: usize,
    /// Of the setting, from 0.
    pub trial: usize,
    /// Passes over the interactions.
    pub passes: usize,
    /// What is set from the family's defaults.
    pub settings: Table,
}

/// What was tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// From 0.
    pub rung: usize,
    /// Of the setting, from 0.
    pub trial: usize,
    /// Passes over the interactions.
    pub passes: usize,
    /// What was set from the family's defaults.
    pub settings: Table,
    /// The metric on what was held back; `None` where training diverged.
    pub value: Option<Estimate>,
    /// When it began.
    pub started: DateTime<Utc>,
    /// Wall-clock seconds of training and judging.
    pub seconds: f64,
    /// CPU time, nanoseconds, where the system tells.
    pub cpu_ns: Option<u64>,
}

impl Search {
    /// Over at most as many settings as the plan's first rung has trials. A smaller space makes a smaller plan.
    pub fn new(
        family: Family,
        params: &Table,
        space: &Space,
        plan: &Plan,
        target: Target,
        seed: u64,
    ) -> Self {
        let wanted = plan.rungs.first().map_or(1, |rung| rung.trials);
        let settings = space.settings(params, seed, wanted);
        let mut plan = plan.clone();
        for rung in &mut plan.rungs {
            rung.trials = rung.trials.min(settings.len());
        }
        Self {
            family,
            plan,
            target,
            settings,
        }
    }

    /// How many settings get how many passes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What comes after what was done; `None` at the end.
    pub fn next(&self, done: &[Trial]) -> Option<Next> {
        let mut settings: Vec<usize> = (0..self.settings.len()).collect();
        for (rung, level) in self.plan.rungs.iter().enumerate() {
            let last = rung > 0 && rung + 1 == self.plan.rungs.len();
            if last
                && level.trials > 1
                && !settings[..settings.len().min(level.trials)].contains(&0)
            {
                settings.truncate(level.trials - 1);
                settings.push(0);
            }
            settings.truncate(level.trials);
            let tried = |trial: usize| done.iter().any(|t| (t.rung, t.trial) == (rung, trial));
            if let Some(&trial) = settings.iter().find(|&&trial| !tried(trial)) {
                return Some(Next {
                    rung,
                    trial,
                    passes: level.passes,
                    settings: self.settings[trial].clone(),
                });
            }
            settings = ranked(done, rung).iter().map(|t| t.trial).collect();
        }
        None
    }

    /// The best trial of the highest rung that has one.
    pub fn best<'a>(&self, done: &'a [Trial]) -> Option<&'a Trial> {
        let rungs = (0..self.plan.rungs.len()).rev();
        { rungs }.find_map(|rung| ranked(done, rung).first().copied())
    }

    /// Every hyperparameter that a trial has, as a JSON object.
    ///
    /// # Errors
    /// Those of the family.
    pub fn hyperparameters(&self, trial: &Trial) -> Result<String> {
        let learner = self
            .family
            .configure(&self.with_passes(&trial.settings, trial.passes))?;
        Ok(learner.hyperparameters()?)
    }

    fn with_passes(&self, settings: &Table, passes: usize) -> Table {
        let mut settings = settings.clone();
        if let Some(key) = self.family.passes() {
            let passes = i64::try_from(passes).unwrap_or(i64::MAX);
            settings.insert(key.to_owned(), Value::Integer(passes));
        }
        settings
    }

    /// Trains and judges. A training that diverges is a trial without a value.
    ///
    /// # Errors
    /// Those of the family and the device.
    pub fn try_out(&self, device: &dyn Device, data: &HeldOut, next: Next) -> Result<Trial> {
        let (started, clock, cpu) = (Utc::now(), Instant::now(), cpu_ns());
        let learner = self
            .family
            .configure(&self.with_passes(&next.settings, next.passes))?;
        let examples = data.examples();
        let value = match learner.train(device, &examples, &mut |_| {}) {
            Ok(fitted) => {
                let (metric, k) = self.target;
                let (known, test) = (examples.weights, &data.test);
                let mut judged = Judged::new(known, &test.relevant, Some(&test.users));
                if !metric.has_cutoff() {
                    judged = judged.in_full();
                }
                let mut evaluation = Evaluation::new(&[metric], &[k.max(1)], known.cols());
                judge(
                    device,
                    &fitted,
                    known,
                    test,
                    &judged,
                    k.max(1),
                    &mut evaluation,
                )?;
                Some(evaluation.resampled(SEED).estimate(0))
            }
            Err(ModelError::Diverged { .. }) => None,
            Err(error) => return Err(Error::from(error)),
        };
        Ok(Trial {
            rung: next.rung,
            trial: next.trial,
            passes: next.passes,
            settings: next.settings,
            value,
            started,
            seconds: clock.elapsed().as_secs_f64(),
            cpu_ns: cpu_ns()
                .zip(cpu)
                .map(|(after, before)| after.saturating_sub(before)),
        })
    }
}

/// Trials of a rung that have a value, best first, of equal ones the earlier drawn.
fn ranked(done: &[Trial], rung: usize) -> Vec<&Trial> {
    let value = |trial: &Trial| trial.value.map_or(f64::NEG_INFINITY, |v| v.mean);
    let mut found: Vec<&Trial> = done
        .iter()
        .filter(|t| t.rung == rung && t.value.is_some())
        .collect();
    found.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.trial.cmp(&b.trial)));
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::CpuDevice;
    use crate::model::Examples;

    /// Users and items of the same parity belong together.
    fn data() -> HeldOut {
        let cells: Vec<_> = (0..40u32)
            .flat_map(|u| (0..40u32).map(move |i| (u, i, 1.0)))
            .filter(|&(u, i, _)| u % 2 == i % 2 && (u + 3 * i) % 5 != 0)
            .collect();
        let weights = crate::features::csr::Csr::from_triplets(40, 40, &cells).unwrap();
        HeldOut::new(&Examples::new(&weights), 0.2, 7)
            .unwrap()
            .unwrap()
    }

    fn search(
        family: &str,
        params: &str,
        space: &str,
        trials: usize,
        passes: Option<usize>,
    ) -> Search {
        let family: Family = family.parse().unwrap();
        let params: Table = params.parse().unwrap();
        let space = Space::parse(&space.parse().unwrap(), family, &params).unwrap();
        let plan = Plan::new(trials, passes);
        Search::new(family, &params, &space, &plan, (Metric::Ndcg, 5), 7)
    }

    fn all(search: &Search, mut done: Vec<Trial>) -> Vec<Trial> {
        let (data, device) = (data(), CpuDevice::new());
        while let Some(next) = search.next(&done) {
            done.push(search.try_out(&device, &data, next).unwrap());
        }
        done
    }

    /// What does not change from run to run.
    fn found(done: &[Trial]) -> Vec<(usize, usize, usize, Option<Estimate>)> {
        done.iter()
            .map(|t| (t.rung, t.trial, t.passes, t.value))
            .collect()
    }

    const SOFTMAX: (&str, &str) = (
        "dim = 8\nnegatives = 16\nbatch = 64",
        "learning_rate = { min = 0.0001, max = 0.1, scale = 'log' }",
    );

    #[test]
    fn the_best_go_on_and_one_is_left_with_all_passes() {
        let search = search("softmax", SOFTMAX.0, SOFTMAX.1, 9, Some(9));
        let done = all(&search, vec![]);
        let count = |rung| done.iter().filter(|t| t.rung == rung).count();
        assert_eq!([count(0), count(1), count(2)], [9, 3, 2]);
        assert_eq!([done[0].passes, done[9].passes, done[12].passes], [1, 3, 9]);
        assert!(done[12..].iter().any(|t| t.trial == 0));
        let worst = |rung: usize, on: bool| {
            let went_on = |t: &&Trial| {
                done.iter()
                    .any(|u| u.rung == rung + 1 && u.trial == t.trial)
            };
            let values = done.iter().filter(|t| t.rung == rung && went_on(t) == on);
            values.map(|t| t.value.unwrap().mean).collect::<Vec<_>>()
        };
        let least = worst(0, true).into_iter().fold(1.0, f64::min);
        assert!(worst(0, false).into_iter().all(|value| value <= least));
        assert_eq!(worst(0, true).len(), 3);
        assert_eq!(search.best(&done).unwrap().passes, 9);
        let json = search.hyperparameters(&done[12]).unwrap();
        assert!(json.contains("\"epochs\":9"), "{json}");
    }

    #[test]
    fn a_search_repeats_and_one_cut_off_comes_to_the_same() {
        let search = search("softmax", SOFTMAX.0, SOFTMAX.1, 5, Some(3));
        let whole = all(&search, vec![]);
        assert_eq!(found(&whole), found(&all(&search, vec![])));
        for cut in [1, 4, 6] {
            let resumed = all(&search, whole[..cut].to_vec());
            assert_eq!(found(&whole), found(&resumed), "{cut}");
        }
        // Before the end, the best so far is of the highest rung reached.
        assert_eq!(search.best(&whole[..5]).unwrap().rung, 0);
        assert_eq!(search.best(&whole[..6]).unwrap().rung, 1);
        assert_eq!(search.best(&[]), None);
        assert_eq!(search.next(&whole), None);
    }

    #[test]
    fn a_setting_that_diverges_does_not_go_on() {
        let params = "dim = 4\nnegatives = 8\nbatch = 8\noptimizer = 'sgd'\ncosine = false";
        let search = search("bpr", params, "learning_rate = [1e30]", 3, Some(3));
        let done = all(&search, vec![]);
        assert_eq!(done.len(), 3);
        assert_eq!(done[1].value, None);
        assert_eq!(search.best(&done).unwrap().trial, 0);
    }

    #[test]
    fn what_the_model_has_now_is_held_against_the_best_with_all_passes() {
        let search = search("softmax", SOFTMAX.0, SOFTMAX.1, 9, Some(9));
        let mut done: Vec<Trial> = vec![];
        // The later drawn, the better: what is there now is the worst.
        while let Some(next) = search.next(&done) {
            let mean = next.trial as f64;
            done.push(Trial {
                rung: next.rung,
                trial: next.trial,
                passes: next.passes,
                settings: next.settings,
                value: Some(Estimate {
                    mean,
                    low: mean,
                    high: mean,
                    users: 1,
                }),
                started: Utc::now(),
                seconds: 0.0,
                cpu_ns: None,
            });
        }
        let of = |rung: usize| -> Vec<usize> {
            let trials = done.iter().filter(|t| t.rung == rung);
            trials.map(|t| t.trial).collect()
        };
        assert_eq!([of(1), of(2)], [vec![8, 7, 6], vec![8, 0]]);
        assert_eq!(search.best(&done).unwrap().trial, 8);
    }

    #[test]
    fn a_family_without_passes_has_one_rung() {
        let search = search("item_item", "", "neighbours = [5, 10, 20]", 27, None);
        let done = all(&search, vec![]);
        assert_eq!(done.len(), 4);
        assert!(done.iter().all(|t| t.rung == 0 && t.passes == 1));
        assert!(search.best(&done).unwrap().value.unwrap().mean > 0.0);
    }
}
