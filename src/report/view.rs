//! Sums of the data that several sections show, each made once so that they agree.

use super::ReportError;
use super::data::{Basis, CostLine, CurrencyData, Line, QualityMetric, ReportData, Target};
use super::round::{fit, less, per, shares, sum};
use super::text::tenths;
use crate::money::{Currency, Money};
use std::collections::BTreeMap;

/// The four amounts of a cost line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    UsageEffective,
    AllocationEffective,
    UsageBilled,
    AllocationBilled,
}

/// In the order of the columns.
pub const MEASURES: [Measure; 4] = [
    Measure::UsageEffective,
    Measure::AllocationEffective,
    Measure::UsageBilled,
    Measure::AllocationBilled,
];

impl Measure {
    fn of(self, line: &CostLine) -> Money {
        match self {
            Self::UsageEffective => line.usage_effective,
            Self::AllocationEffective => line.allocation_effective,
            Self::UsageBilled => line.usage_billed,
            Self::AllocationBilled => line.allocation_billed,
        }
    }
}

/// A cost line and how its amounts are shown, in the order of [`MEASURES`].
pub struct Leaf<'a> {
    pub line: &'a CostLine,
    pub shown: [Money; 4],
}

/// Sum of a target's leaves, in the order of [`MEASURES`].
pub struct TargetSum {
    pub target: Target,
    pub exact: [Money; 4],
    pub shown: [Money; 4],
}

/// Served, outcomes and cost of a model on one surface, or on all.
#[derive(Debug, Clone, Default)]
pub struct UnitSum {
    pub model_id: String,
    pub surface: Option<String>,
    pub served: u64,
    pub requests: u64,
    pub clicks: u64,
    pub purchases: u64,
    pub conversions: u64,
    pub clicked_requests: u64,
    pub converted_requests: u64,
    /// `None` when none is known.
    pub revenue: Option<Money>,
    /// Of `margin_revenue`; `None` when none is known.
    pub margin: Option<Money>,
    pub margin_revenue: Option<Money>,
    pub run_cost: Money,
    pub overhead_cost: Money,
    pub making_cost: Money,
    pub full_cost: Money,
}

impl UnitSum {
    /// Run cost per 1,000 served; `None` when nothing was served.
    pub fn run_per_1000(&self) -> Result<Option<Money>, ReportError> {
        per(self.run_cost, 1000, self.served)
    }

    /// Full cost per 1,000 served; `None` when nothing was served.
    pub fn full_per_1000(&self) -> Result<Option<Money>, ReportError> {
        per(self.full_cost, 1000, self.served)
    }

    /// Revenue over full cost; `None` where nothing was served, where full cost is 0, and where the price of what was
    /// bought is not known.
    pub fn return_on_cost(&self) -> Option<Money> {
        self.over_cost(self.revenue)
    }

    /// Margin over full cost, likewise.
    pub fn margin_on_cost(&self) -> Option<Money> {
        self.over_cost(self.margin)
    }

    fn over_cost(&self, brought: Option<Money>) -> Option<Money> {
        let nothing = (self.purchases == 0).then_some(Money::ZERO);
        let brought = brought.or(nothing).filter(|_| self.served > 0)?;
        brought.over(self.full_cost)
    }

    /// Run, overhead and making cost: the parts of full cost.
    pub fn parts(&self) -> [Money; 3] {
        [self.run_cost, self.overhead_cost, self.making_cost]
    }

    /// Adds another's counts and amounts.
    pub fn add(&mut self, other: &Self) -> Result<(), ReportError> {
        for (sum, more) in [
            (&mut self.served, other.served),
            (&mut self.requests, other.requests),
            (&mut self.clicks, other.clicks),
            (&mut self.purchases, other.purchases),
            (&mut self.conversions, other.conversions),
            (&mut self.clicked_requests, other.clicked_requests),
            (&mut self.converted_requests, other.converted_requests),
        ] {
            *sum = sum.saturating_add(more);
        }
        for (sum, more) in [
            (&mut self.revenue, other.revenue),
            (&mut self.margin, other.margin),
            (&mut self.margin_revenue, other.margin_revenue),
        ] {
            *sum = match (*sum, more) {
                (Some(left), Some(right)) => Some(left.checked_add(right)?),
                (left, right) => left.or(right),
            };
        }
        for (sum, more) in [
            (&mut self.run_cost, other.run_cost),
            (&mut self.overhead_cost, other.overhead_cost),
            (&mut self.making_cost, other.making_cost),
            (&mut self.full_cost, other.full_cost),
        ] {
            *sum = sum.checked_add(more)?;
        }
        Ok(())
    }
}

/// A line of the reconciliation summed over periods and issuers, one basis.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pair {
    pub billed: Money,
    pub effective: Money,
    pub rows: u64,
    /// Whether some amount behind it cannot be read.
    pub unreadable: bool,
}

/// Everything of one currency, summed.
pub struct View<'a> {
    pub data: &'a CurrencyData,
    /// Decimal places of the minor unit.
    pub digits: u32,
    /// By target, version, stage, category, reason.
    pub leaves: Vec<Leaf<'a>>,
    /// Models by cost, dearest first; then idle, then unallocated.
    pub targets: Vec<TargetSum>,
    /// Shares of `targets` in effective cost, usage basis, in tenths of a per cent; they add up
    /// to 1000. `None` where credits leave them without meaning.
    pub shares: Option<Vec<i128>>,
    /// Models as in `targets`, all surfaces together.
    pub models: Vec<UnitSum>,
    /// By model as in `models`, then surface.
    pub surfaces: Vec<UnitSum>,
}

impl<'a> View<'a> {
    /// Sums up and rounds one currency's data.
    pub fn new(data: &'a CurrencyData) -> Result<Self, ReportError> {
        let leaves = leaves(data)?;
        let targets = targets(&leaves)?;
        let exact: Vec<Money> = targets.iter().map(|found| found.exact[0]).collect();
        let surfaces = surfaces(data, &targets)?;
        let models = models(&surfaces, &targets)?;
        Ok(Self {
            data,
            digits: data.currency.digits(),
            leaves,
            shares: shares(&exact)?,
            targets,
            models,
            surfaces,
        })
    }

    /// ISO 4217 code.
    pub fn code(&self) -> &str {
        self.data.currency.code()
    }

    /// A line of the reconciliation over all periods and issuers.
    pub fn line(&self, basis: Basis, line: Line) -> Result<Pair, ReportError> {
        let mut pair = Pair::default();
        let lines = self.data.reconciliation.iter();
        for found in lines.filter(|found| found.basis == basis && found.line == line) {
            pair.rows = pair.rows.saturating_add(found.rows);
            pair.unreadable |= found.billed.is_none() || found.effective.is_none();
            pair.billed = pair.billed.checked_add(found.billed.unwrap_or_default())?;
            pair.effective = pair
                .effective
                .checked_add(found.effective.unwrap_or_default())?;
        }
        Ok(pair)
    }

    /// Sum of the leaves of a kind of target, exact and shown, in the order of [`MEASURES`].
    pub fn kind(&self, kind: Kind) -> Result<([Money; 4], [Money; 4]), ReportError> {
        let (mut exact, mut shown) = ([Money::ZERO; 4], [Money::ZERO; 4]);
        for found in self.targets.iter().filter(|found| kind.has(&found.target)) {
            add(&mut exact, &found.exact)?;
            add(&mut shown, &found.shown)?;
        }
        Ok((exact, shown))
    }

    /// Share of a kind of target, such as `92.1 %`: the sum of the shares that its targets show.
    pub fn share(&self, kind: Kind) -> Option<String> {
        let shares = self.shares.as_ref()?;
        let of = |wanted: Kind| {
            self.targets
                .iter()
                .zip(shares)
                .filter(move |(found, _)| wanted.has(&found.target))
        };
        let nonzero = |wanted: Kind| {
            of(wanted)
                .filter(|(found, _)| found.exact[0].0 != 0)
                .count()
        };
        let share = of(kind).map(|(_, share)| share).sum();
        let exactly = match share {
            0 => nonzero(kind) == 0,
            1000 => nonzero(kind) == nonzero(Kind::All),
            _ => true,
        };
        Some(tenths(share, exactly))
    }

    /// What does not tie, in words with exact amounts; empty when all does.
    pub fn gaps(&self) -> Result<Vec<String>, ReportError> {
        let mut gaps = Vec::new();
        for (basis, name, at) in [
            (Basis::Usage, "usage basis", [0, 2]),
            (Basis::Allocation, "allocation basis", [1, 3]),
        ] {
            let mut bill = self.line(basis, Line::Bill)?;
            let costs = self.kind(Kind::All)?.0;
            if bill.rows == 0 && basis == Basis::Usage {
                gaps.push(format!("{name}: there is no bill to reconcile with"));
                continue;
            }
            if bill.rows == 0 {
                bill = self.line(Basis::Usage, Line::Bill)?;
                let effective = less(bill.effective, costs[at[0]])?;
                let billed = less(bill.billed, costs[at[1]])?;
                for (what, gap) in [("effective", effective), ("billed", billed)] {
                    if gap.0 != 0 {
                        gaps.push(format!(
                            "{name}, {what}: bill less the cost lines shown: {} {gap}",
                            self.code()
                        ));
                    }
                }
                continue;
            }
            let mut parts = Pair::default();
            for line in [Line::Attributed, Line::Idle, Line::Unallocated] {
                let part = self.line(basis, line)?;
                parts.effective = parts.effective.checked_add(part.effective)?;
                parts.billed = parts.billed.checked_add(part.billed)?;
            }
            let stated = self.line(basis, Line::Difference)?;
            let checks = [
                (
                    "effective: bill less its parts",
                    less(bill.effective, parts.effective)?,
                ),
                (
                    "billed: bill less its parts",
                    less(bill.billed, parts.billed)?,
                ),
                ("effective: stated difference", stated.effective),
                ("billed: stated difference", stated.billed),
                (
                    "effective: bill less the cost lines shown",
                    less(bill.effective, costs[at[0]])?,
                ),
                (
                    "billed: bill less the cost lines shown",
                    less(bill.billed, costs[at[1]])?,
                ),
            ];
            let off = checks.iter().filter(|(_, gap)| gap.0 != 0);
            gaps.extend(off.map(|(what, gap)| format!("{name}, {what}: {} {gap}", self.code())));
        }
        Ok(gaps)
    }
}

/// Kind of target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    All,
    Models,
    Idle,
    Unallocated,
}

impl Kind {
    fn has(self, target: &Target) -> bool {
        match self {
            Self::All => true,
            Self::Models => matches!(target, Target::Model(_)),
            Self::Idle => *target == Target::Idle,
            Self::Unallocated => *target == Target::Unallocated,
        }
    }
}

/// Adds `more` to `sums`, place by place.
pub fn add(sums: &mut [Money; 4], more: &[Money; 4]) -> Result<(), ReportError> {
    for (total, amount) in sums.iter_mut().zip(more) {
        *total = total.checked_add(*amount)?;
    }
    Ok(())
}

fn leaves(data: &CurrencyData) -> Result<Vec<Leaf<'_>>, ReportError> {
    let mut lines: Vec<&CostLine> = data.costs.iter().collect();
    lines.sort_by_key(|line| {
        (
            &line.target,
            &line.model_version,
            &line.stage,
            &line.category,
            &line.reason,
        )
    });
    let mut leaves: Vec<Leaf> = lines
        .into_iter()
        .map(|line| Leaf {
            line,
            shown: [Money::ZERO; 4],
        })
        .collect();
    for (place, measure) in MEASURES.into_iter().enumerate() {
        round_leaves(&mut leaves, place, measure, data.currency)?;
    }
    Ok(leaves)
}

/// Rounds one measure from the top down: the total is apportioned to the targets by largest remainder, then each
/// target's amount to its leaves. So a model's figure is the one that its exact cost gives, however finely it is broken
/// down below it.
fn round_leaves(
    leaves: &mut [Leaf],
    place: usize,
    measure: Measure,
    currency: Currency,
) -> Result<(), ReportError> {
    // Sorted by target, so each target's leaves stand together.
    let groups = || leaves.chunk_by(|a, b| a.line.target == b.line.target);
    let exact =
        |group: &[Leaf]| -> Vec<Money> { group.iter().map(|leaf| measure.of(leaf.line)).collect() };
    let totals = groups()
        .map(|group| sum(exact(group)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut shown = Vec::with_capacity(leaves.len());
    for (group, total) in groups().zip(currency.cents(&totals)?) {
        shown.extend(fit(&exact(group), total, currency.digits())?);
    }
    for (leaf, shown) in leaves.iter_mut().zip(shown) {
        leaf.shown[place] = shown;
    }
    Ok(())
}

fn targets(leaves: &[Leaf]) -> Result<Vec<TargetSum>, ReportError> {
    let mut sums: BTreeMap<&Target, ([Money; 4], [Money; 4])> = BTreeMap::new();
    for leaf in leaves {
        let (exact, shown) = sums.entry(&leaf.line.target).or_default();
        add(exact, &MEASURES.map(|measure| measure.of(leaf.line)))?;
        add(shown, &leaf.shown)?;
    }
    let mut targets: Vec<TargetSum> = sums
        .into_iter()
        .map(|(target, (exact, shown))| TargetSum {
            target: target.clone(),
            exact,
            shown,
        })
        .collect();
    // Stable: models of one cost stay in the order of their ids.
    targets.sort_by_key(|sum| match sum.target {
        Target::Model(_) => (0, -sum.exact[0].0),
        Target::Idle => (1, 0),
        Target::Unallocated => (2, 0),
    });
    Ok(targets)
}

fn surfaces(data: &CurrencyData, targets: &[TargetSum]) -> Result<Vec<UnitSum>, ReportError> {
    let mut sums: BTreeMap<(&str, Option<&str>), UnitSum> = BTreeMap::new();
    for unit in &data.units {
        let key = (unit.model_id.as_str(), unit.surface.as_deref());
        let total = sums.entry(key).or_insert_with(|| UnitSum {
            model_id: unit.model_id.clone(),
            surface: unit.surface.clone(),
            ..UnitSum::default()
        });
        total.add(&UnitSum {
            model_id: String::new(),
            surface: None,
            served: unit.served,
            requests: unit.requests,
            clicks: unit.clicks,
            purchases: unit.purchases,
            conversions: unit.conversions,
            clicked_requests: unit.clicked_requests,
            converted_requests: unit.converted_requests,
            revenue: unit.revenue,
            margin: unit.margin,
            margin_revenue: unit.margin_revenue,
            run_cost: unit.run_cost,
            overhead_cost: unit.overhead_cost,
            making_cost: unit.making_cost,
            full_cost: unit.full_cost,
        })?;
    }
    let mut sums: Vec<UnitSum> = sums.into_values().collect();
    sums.sort_by_key(|sum| rank(targets, &sum.model_id));
    Ok(sums)
}

fn models(surfaces: &[UnitSum], targets: &[TargetSum]) -> Result<Vec<UnitSum>, ReportError> {
    let mut models: Vec<UnitSum> = Vec::new();
    for surface in surfaces {
        match models.last_mut() {
            Some(last) if last.model_id == surface.model_id => last.add(surface)?,
            _ => models.push(UnitSum {
                surface: None,
                ..surface.clone()
            }),
        }
    }
    for found in targets {
        // A model that cost something and served nothing is a line, not a gap; nothing of what it cost to make is recognised.
        if let Target::Model(id) = &found.target
            && !models.iter().any(|model| model.model_id == *id)
        {
            models.push(UnitSum {
                model_id: id.clone(),
                ..UnitSum::default()
            });
        }
    }
    models.sort_by_key(|model| rank(targets, &model.model_id));
    Ok(models)
}

fn rank(targets: &[TargetSum], model: &str) -> usize {
    let found = targets
        .iter()
        .position(|sum| matches!(&sum.target, Target::Model(id) if id == model));
    found.unwrap_or(targets.len())
}

/// The amounts rounded so that they add up to what the cost tables show for the
/// target when the exact sums agree, and to their own total otherwise.
pub fn agree(
    view: &View,
    target: &Target,
    place: usize,
    exact: &[Money],
) -> Result<Vec<Money>, ReportError> {
    let known = view.targets.iter().find(|found| found.target == *target);
    match known {
        Some(known) if known.exact[place] == sum(exact.iter().copied())? => {
            fit(exact, known.shown[place], view.digits)
        }
        _ => Ok(view.data.currency.cents(exact)?),
    }
}

/// The metric and k that stand for quality in charts: recall@20, else the
/// nearest k of recall, else the first metric there is.
pub fn main_metric(data: &ReportData) -> Option<(&str, u32)> {
    let distance = |metric: &QualityMetric| {
        let other = u32::from(metric.metric != "recall");
        (other, metric.k.abs_diff(20), metric.k)
    };
    let found = data.quality.iter().min_by_key(|metric| distance(metric))?;
    Some((&found.metric, found.k))
}

/// The baseline's value of a metric.
pub fn baseline<'a>(data: &'a ReportData, metric: &str, k: u32) -> Option<&'a QualityMetric> {
    data.quality
        .iter()
        .find(|found| found.is_baseline && found.metric == metric && found.k == k)
}
