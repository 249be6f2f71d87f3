//! Amounts rounded once for every form of the report, so that the page and the workbook show the same cents.

use super::ReportError;
use super::data::{
    Basis, Line, Machine, Mover, ReconciliationLine, ResourceCost, Restatement, Target,
};
use super::round::{fit, grid, less, sum};
use super::view::{Kind, MEASURES, UnitSum, View, agree};
use crate::money::Money;

/// What each line of the bridge adds to billed, and what is left between billed and effective as they are shown: 0 as long
/// as the lines explain all of it.
pub fn bridge(view: &View) -> Result<(Vec<Money>, Money), ReportError> {
    let (exact, shown) = view.kind(Kind::All)?;
    let differences = view
        .data
        .bridge
        .iter()
        .map(|line| less(line.effective, line.billed))
        .collect::<Result<Vec<Money>, _>>()?;
    let whole = less(shown[0], shown[2])?;
    let lines = if sum(differences.iter().copied())? == less(exact[0], exact[2])? {
        fit(&differences, whole, view.digits)?
    } else {
        view.data.currency.cents(&differences)?
    };
    let rest = less(whole, sum(lines.iter().copied())?)?;
    Ok((lines, rest))
}

/// The dearest of what is idle or unallocated, and the rest: effective and billed, usage basis.
pub struct Lost<'a> {
    pub listed: Vec<(&'a ResourceCost, [Money; 2])>,
    pub rest: [Money; 2],
}

/// Those of `all` that are [`Kind::Idle`] or [`Kind::Unallocated`]; they and the rest add up to what the cost tables show.
pub fn lost<'a>(view: &View, all: &'a [ResourceCost], kind: Kind) -> Result<Lost<'a>, ReportError> {
    let target = match kind {
        Kind::Idle => Target::Idle,
        _ => Target::Unallocated,
    };
    let listed: Vec<&ResourceCost> = all
        .iter()
        .filter(|resource| resource.target == target)
        .collect();
    let exact = view.kind(kind)?.0;
    let column =
        |place: usize, of: fn(&ResourceCost) -> Money| -> Result<Vec<Money>, ReportError> {
            let mut amounts: Vec<Money> = listed.iter().map(|resource| of(resource)).collect();
            amounts.push(less(exact[place], sum(amounts.iter().copied())?)?);
            agree(view, &target, place, &amounts)
        };
    let effective = column(0, |resource| resource.effective)?;
    let billed = column(2, |resource| resource.billed)?;
    let mut pairs = effective.into_iter().zip(billed).map(|(e, b)| [e, b]);
    let listed = listed.into_iter().zip(pairs.by_ref()).collect();
    Ok(Lost {
        listed,
        rest: pairs.next().unwrap_or_default(),
    })
}

/// A model and its surfaces.
pub struct Surfaces<'a> {
    pub model: &'a UnitSum,
    pub parts: Vec<Surface<'a>>,
}

/// A surface, with its amounts in cents.
pub struct Surface<'a> {
    pub unit: &'a UnitSum,
    pub revenue: Option<Money>,
    pub margin: Option<Money>,
    /// Run, overhead and making cost.
    pub costs: [Money; 3],
    /// The sum of `costs`.
    pub full: Money,
}

/// Run, overhead, making and full cost of a model; full cost is what the cost tables show for it wherever the exact
/// amounts are the same.
pub fn unit_costs(view: &View, unit: &UnitSum) -> Result<[Money; 4], ReportError> {
    let target = Target::Model(unit.model_id.clone());
    let full = agree(view, &target, 1, &[unit.full_cost])?;
    let full = full.first().copied().unwrap_or_default();
    let parts = fit(&unit.parts(), full, view.digits)?;
    Ok([parts[0], parts[1], parts[2], full])
}

/// Surfaces of each model that has any; their costs add up to [`unit_costs`] of the model, line by line and part by part.
pub fn surfaces<'a>(view: &'a View) -> Result<Vec<Surfaces<'a>>, ReportError> {
    let mut found = Vec::new();
    for model in &view.models {
        let units: Vec<&UnitSum> = view
            .surfaces
            .iter()
            .filter(|unit| unit.model_id == model.model_id)
            .collect();
        if units.is_empty() {
            continue;
        }
        let [run, overhead, making, whole] = unit_costs(view, model)?;
        let exact: Vec<Money> = units.iter().map(|unit| unit.full_cost).collect();
        let full = fit(&exact, whole, view.digits)?;
        let cells: Vec<Vec<Money>> = units.iter().map(|unit| unit.parts().to_vec()).collect();
        let costs = grid(&cells, &full, &[run, overhead, making], view.digits)?;
        let known = |of: fn(&UnitSum) -> Option<Money>| -> Result<Vec<Option<Money>>, ReportError> {
            let known: Vec<Money> = units.iter().filter_map(|unit| of(unit)).collect();
            let mut shown = view.data.currency.cents(&known)?.into_iter();
            let cents = units.iter().map(|unit| of(unit).and_then(|_| shown.next()));
            Ok(cents.collect())
        };
        let brought = known(|unit| unit.revenue)?
            .into_iter()
            .zip(known(|unit| unit.margin)?);
        let parts = units
            .iter()
            .zip(costs.into_iter().zip(full))
            .zip(brought)
            .map(|((unit, (costs, full)), (revenue, margin))| Surface {
                unit,
                revenue,
                margin,
                costs: [costs[0], costs[1], costs[2]],
                full,
            })
            .collect();
        found.push(Surfaces { model, parts });
    }
    Ok(found)
}

/// A machine: used, idle and unallocated in cents.
pub struct ShownMachine<'a> {
    pub machine: &'a Machine,
    pub parts: [Money; 3],
}

/// The machines; all their parts together are rounded to one total.
pub fn machines<'a>(view: &View<'a>) -> Result<Vec<ShownMachine<'a>>, ReportError> {
    let machines = &view.data.machines;
    let exact: Vec<Money> = machines
        .iter()
        .flat_map(|machine| [machine.used, machine.idle, machine.unallocated])
        .collect();
    let shown = view.data.currency.cents(&exact)?;
    Ok(machines
        .iter()
        .zip(shown.chunks_exact(3))
        .map(|(machine, parts)| ShownMachine {
            machine,
            parts: [parts[0], parts[1], parts[2]],
        })
        .collect())
}

/// A restatement in cents, in the order of [`MEASURES`].
pub struct Restated<'a> {
    pub line: &'a Restatement,
    pub before: [Money; 4],
    pub change: [Money; 4],
}

/// Restatements by closed period and period of booking, each group rounded to its own totals.
pub fn restatements<'a>(view: &View<'a>) -> Result<Vec<Vec<Restated<'a>>>, ReportError> {
    let same = |a: &Restatement, b: &Restatement| a.period == b.period && a.booked == b.booked;
    let mut groups = Vec::new();
    for group in view.data.restatements.chunk_by(same) {
        let mut shown: Vec<Restated> = group
            .iter()
            .map(|line| Restated {
                line,
                before: [Money::ZERO; 4],
                change: [Money::ZERO; 4],
            })
            .collect();
        for place in 0..MEASURES.len() {
            let before: Vec<Money> = group.iter().map(|line| line.before[place]).collect();
            let change: Vec<Money> = group.iter().map(|line| line.change[place]).collect();
            let before = view.data.currency.cents(&before)?;
            let change = view.data.currency.cents(&change)?;
            for (line, (before, change)) in shown.iter_mut().zip(before.into_iter().zip(change)) {
                line.before[place] = before;
                line.change[place] = change;
            }
        }
        groups.push(shown);
    }
    Ok(groups)
}

/// A mover in cents: `before + Σ parts = after`.
pub struct Moved<'a> {
    pub mover: &'a Mover,
    pub before: Money,
    pub after: Money,
    /// Price and volume of the bill, share of it, new resources, ended resources.
    pub parts: [Money; 4],
}

/// The movers, each rounded by itself: their sums mean nothing.
pub fn movers<'a>(view: &View<'a>) -> Result<Vec<Moved<'a>>, ReportError> {
    let mut found = Vec::new();
    for mover in &view.data.movers {
        let before = mover.before.round(view.digits)?;
        let after = mover.after.round(view.digits)?;
        let exact = [mover.bill, mover.share, mover.appeared, mover.ended];
        let parts = fit(&exact, less(after, before)?, view.digits)?;
        found.push(Moved {
            mover,
            before,
            after,
            parts: [parts[0], parts[1], parts[2], parts[3]],
        });
    }
    Ok(found)
}

/// A bill and where it went, in cents.
pub struct Bill<'a> {
    pub period: &'a str,
    pub issuer: &'a str,
    pub rows: u64,
    /// Attributed, idle and unallocated, for each of [`MEASURES`].
    pub parts: [[Money; 3]; 4],
}

const PARTS: [(Line, Kind); 3] = [
    (Line::Attributed, Kind::Models),
    (Line::Idle, Kind::Idle),
    (Line::Unallocated, Kind::Unallocated),
];

/// The bills by period and issuer. Their parts add up to what the cost tables show for models, idle and unallocated, and
/// their totals to the total shown, wherever the exact amounts do.
pub fn bills<'a>(view: &View<'a>) -> Result<Vec<Bill<'a>>, ReportError> {
    let lines = &view.data.reconciliation;
    let mut keys: Vec<(&str, &str)> = lines
        .iter()
        .filter(|line| line.line == Line::Bill)
        .map(|line| (line.period.as_str(), line.issuer.as_str()))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let find = |key: (&str, &str), basis: Basis, line: Line| -> Option<&ReconciliationLine> {
        let same = |found: &&ReconciliationLine| {
            (found.period.as_str(), found.issuer.as_str()) == key
                && found.basis == basis
                && found.line == line
        };
        lines.iter().find(same)
    };
    let mut bills: Vec<Bill> = keys
        .iter()
        .map(|&(period, issuer)| Bill {
            period,
            issuer,
            rows: find((period, issuer), Basis::Usage, Line::Bill).map_or(0, |line| line.rows),
            parts: [[Money::ZERO; 3]; 4],
        })
        .collect();
    let places = [
        Basis::Usage,
        Basis::Allocation,
        Basis::Usage,
        Basis::Allocation,
    ];
    for (place, basis) in places.into_iter().enumerate() {
        let of = |line: Option<&ReconciliationLine>| {
            let amount = line.and_then(|line| {
                if place < 2 {
                    line.effective
                } else {
                    line.billed
                }
            });
            amount.unwrap_or_default()
        };
        let cells: Vec<Vec<Money>> = keys
            .iter()
            .map(|&key| {
                PARTS
                    .iter()
                    .map(|&(line, _)| of(find(key, basis, line)))
                    .collect()
            })
            .collect();
        let rows: Vec<Money> = cells
            .iter()
            .map(|row| sum(row.iter().copied()))
            .collect::<Result<_, _>>()?;
        let (exact, shown) = view.kind(Kind::All)?;
        let rows = if sum(rows.iter().copied())? == exact[place] {
            fit(&rows, shown[place], view.digits)?
        } else {
            view.data.currency.cents(&rows)?
        };
        let columns: Vec<Money> = PARTS
            .iter()
            .map(|&(_, kind)| Ok(view.kind(kind)?.1[place]))
            .collect::<Result<_, ReportError>>()?;
        for (bill, parts) in bills
            .iter_mut()
            .zip(grid(&cells, &rows, &columns, view.digits)?)
        {
            bill.parts[place] = [parts[0], parts[1], parts[2]];
        }
    }
    Ok(bills)
}
