//! How well chances tell what was taken up from what was not: accuracy and its relatives, with bootstrap intervals.
//!
//! An example is a chance between 0 and 1 and a label. Definitions after Fawcett, "An introduction to ROC analysis",
//! Pattern Recognition Letters 27(8), 2006.

use super::bootstrap::{Estimate, bootstrap_of};

/// A chance and whether the label is true.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Example {
    pub chance: f64,
    pub label: bool,
}

/// Counts of examples by label and by whether the chance is at least the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confusion {
    pub true_positives: u64,
    pub false_positives: u64,
    pub true_negatives: u64,
    pub false_negatives: u64,
}

impl Confusion {
    /// Of `examples` at `threshold`.
    pub fn at<'a>(threshold: f64, examples: impl IntoIterator<Item = &'a Example>) -> Self {
        let mut counts = Self::default();
        for example in examples {
            let count = match (example.chance >= threshold, example.label) {
                (true, true) => &mut counts.true_positives,
                (true, false) => &mut counts.false_positives,
                (false, false) => &mut counts.true_negatives,
                (false, true) => &mut counts.false_negatives,
            };
            *count += 1;
        }
        counts
    }

    /// Share of examples on their label's side; 0 without any.
    pub fn accuracy(self) -> f64 {
        let right = self.true_positives + self.true_negatives;
        ratio(right, right + self.false_positives + self.false_negatives)
    }

    /// Accuracy of always saying the commoner label.
    pub fn majority(self) -> f64 {
        let positives = self.true_positives + self.false_negatives;
        let negatives = self.true_negatives + self.false_positives;
        ratio(positives.max(negatives), positives + negatives)
    }

    /// Share of true labels among the examples at or above the threshold.
    pub fn precision(self) -> f64 {
        ratio(
            self.true_positives,
            self.true_positives + self.false_positives,
        )
    }

    /// Share of the true labels at or above the threshold.
    pub fn recall(self) -> f64 {
        ratio(
            self.true_positives,
            self.true_positives + self.false_negatives,
        )
    }

    /// Harmonic mean of precision and recall.
    pub fn f1(self) -> f64 {
        let both = 2 * self.true_positives;
        ratio(both, both + self.false_positives + self.false_negatives)
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

/// The chance that a true label gets a higher chance than a false one, ties counting half: the area under the ROC curve.
/// 0.5 when one of the labels is missing.
pub fn auc(examples: &[Example]) -> f64 {
    let mut sorted = examples.to_vec();
    sorted.sort_unstable_by(|a, b| a.chance.total_cmp(&b.chance));
    let positives = sorted.iter().filter(|e| e.label).count() as f64;
    let negatives = sorted.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return 0.5;
    }
    let (mut wins, mut below) = (0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.chance == b.chance) {
        let up = tied.iter().filter(|e| e.label).count() as f64;
        let down = tied.len() as f64 - up;
        wins += up * (below + 0.5 * down);
        below += down;
    }
    wins / (positives * negatives)
}

/// A figure of `examples` with its 95 % percentile bootstrap interval over examples.
pub fn estimate(
    examples: &[Example],
    seed: u64,
    of: impl Fn(&[Example]) -> f64 + Sync,
) -> Estimate {
    bootstrap_of(examples, seed, of)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn examples(of: &[(f64, bool)]) -> Vec<Example> {
        of.iter()
            .map(|&(chance, label)| Example { chance, label })
            .collect()
    }

    #[test]
    fn figures_worked_out_by_hand() {
        let examples = examples(&[
            (0.9, true),
            (0.8, false),
            (0.5, true),
            (0.4, true),
            (0.2, false),
        ]);
        let counts = Confusion::at(0.5, &examples);
        let expected = Confusion {
            true_positives: 2,
            false_positives: 1,
            true_negatives: 1,
            false_negatives: 1,
        };
        assert_eq!(counts, expected);
        assert_eq!(counts.accuracy(), 0.6);
        assert_eq!(counts.majority(), 0.6);
        assert_eq!(counts.precision(), 2.0 / 3.0);
        assert_eq!(counts.recall(), 2.0 / 3.0);
        assert_eq!(counts.f1(), 2.0 / 3.0);
        // Of the six pairs, (0.5, 0.8) and (0.4, 0.8) are the wrong way round.
        assert!((auc(&examples) - 4.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn ties_count_half_and_missing_labels_say_nothing() {
        assert_eq!(auc(&examples(&[(0.3, true), (0.3, false)])), 0.5);
        assert_eq!(auc(&examples(&[(0.3, true)])), 0.5);
        assert_eq!(auc(&[]), 0.5);
        assert_eq!(Confusion::at(0.5, &[]).accuracy(), 0.0);
    }

    #[test]
    fn the_interval_holds_the_figure() {
        let many: Vec<Example> = (0..1000)
            .map(|at| Example {
                chance: f64::from(at % 10) / 10.0,
                label: at % 3 == 0,
            })
            .collect();
        let accuracy = |of: &[Example]| Confusion::at(0.5, of).accuracy();
        let found = estimate(&many, 7, accuracy);
        assert_eq!(found.mean, accuracy(&many));
        assert!(found.low < found.mean && found.mean < found.high);
        assert!(found.high - found.low < 0.08);
    }
}
