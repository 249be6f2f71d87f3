//! Successive halving (Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
//! AISTATS 2016): many settings get few passes, the best third of them three times as many, until one is left with all. What
//! the model has now is tried with all passes beside it, so that nobody changes what works for what was lucky once.

/// The best of so many go on to the next rung, which has so many times the passes.
const RATE: usize = 3;

/// A rung: so many trials of so many passes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// Settings that are tried.
    pub trials: usize,
    /// Passes over the interactions of each.
    pub passes: usize,
}

/// The rungs of a search, from the bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// At least one.
    pub rungs: Vec<Rung>,
}

impl Plan {
    /// Rungs for so many settings, the last with `passes`. A family that does not train in passes (`None`) has one rung.
    pub fn new(trials: usize, passes: Option<usize>) -> Self {
        let trials = trials.max(1);
        let Some(most) = passes else {
            return Self {
                rungs: vec![Rung { trials, passes: 1 }],
            };
        };
        let height = trials.ilog(RATE).min(most.max(1).ilog(RATE));
        let rung = |level: u32| Rung {
            trials: (trials / RATE.pow(level)).max(1) + usize::from(0 < level && level == height),
            passes: most.div_ceil(RATE.pow(height - level)),
        };
        Self {
            rungs: (0..=height).map(rung).collect(),
        }
    }

    /// The largest of at most so many settings that takes no more than `budget` passes altogether; `None` where not even
    /// one does.
    pub fn within(budget: usize, trials: usize, passes: Option<usize>) -> Option<Self> {
        let plans = (1..=trials.max(1)).rev();
        plans
            .map(|trials| Self::new(trials, passes))
            .find(|plan| plan.passes() <= budget)
    }

    /// Passes of all trials.
    pub fn passes(&self) -> usize {
        self.rungs.iter().map(|r| r.trials * r.passes).sum()
    }

    /// Trials of all rungs.
    pub fn trials(&self) -> usize {
        self.rungs.iter().map(|r| r.trials).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rungs(plan: &Plan) -> Vec<(usize, usize)> {
        plan.rungs.iter().map(|r| (r.trials, r.passes)).collect()
    }

    #[test]
    fn a_third_goes_on_with_three_times_the_passes() {
        let plan = Plan::new(27, Some(30));
        assert_eq!(rungs(&plan), [(27, 2), (9, 4), (3, 10), (2, 30)]);
        assert_eq!((plan.passes(), plan.trials()), (180, 41));
    }

    #[test]
    fn the_last_rung_has_all_passes_however_few_there_are() {
        assert_eq!(rungs(&Plan::new(27, Some(4))), [(27, 2), (10, 4)]);
        assert_eq!(rungs(&Plan::new(27, Some(1))), [(27, 1)]);
        assert_eq!(rungs(&Plan::new(1, Some(30))), [(1, 30)]);
        assert_eq!(rungs(&Plan::new(0, Some(5))), [(1, 5)]);
        assert_eq!(rungs(&Plan::new(9, None)), [(9, 1)]);
    }

    #[test]
    fn a_budget_takes_the_most_settings_that_it_pays_for() {
        let plan = Plan::within(100, 27, Some(30)).unwrap();
        assert!(plan.passes() <= 100);
        assert!(Plan::new(plan.rungs[0].trials + 1, Some(30)).passes() > 100);
        assert_eq!(Plan::within(29, 27, Some(30)), None);
        assert_eq!(rungs(&Plan::within(30, 27, Some(30)).unwrap()), [(1, 30)]);
        assert_eq!(Plan::within(4, 27, None).unwrap().trials(), 4);
    }
}
