//! What versions cost to make, in cents, once for every form of the report: a roll-forward that closes as it is shown.

use super::ReportError;
use super::data::{ModelMonth, VersionCost};
use super::round::{fit, grid, less};
use super::view::{View, add};
use crate::money::Money;

/// A model's cost to make over the months, in cents: each opening is the closing before it, and
/// `opening + incurred + transferred − recognised − written off = closing`.
pub struct RolledModel<'a> {
    pub model_id: &'a str,
    pub months: Vec<RolledMonth<'a>>,
}

/// A month of it.
pub struct RolledMonth<'a> {
    pub month: &'a str,
    pub opening: Money,
    /// Incurred, transferred, recognised, written off.
    pub moved: [Money; 4],
    pub closing: Money,
}

/// Movements with the sign that they have in the closing amount; the same turns them back.
fn signed(moved: [Money; 4]) -> Result<[Money; 4], ReportError> {
    let [incurred, transferred, recognised, written_off] = moved;
    Ok([
        incurred,
        transferred,
        recognised.checked_neg()?,
        written_off.checked_neg()?,
    ])
}

/// The roll-forward of all months, whatever the period of the report. Each closing is rounded by itself, so that it stays
/// where it is in a month in which nothing moved.
pub fn roll_forward<'a>(view: &View<'a>) -> Result<Vec<RolledModel<'a>>, ReportError> {
    let mut found = Vec::new();
    let same = |a: &ModelMonth, b: &ModelMonth| a.model_id == b.model_id;
    for rows in view.data.roll_forward.chunk_by(same) {
        let mut opening = Money::ZERO;
        let mut months = Vec::new();
        for row in rows {
            let closing = row.closing.round(view.digits)?;
            let exact = [
                row.incurred,
                row.transferred,
                row.recognised,
                row.written_off,
            ];
            let moved = fit(&signed(exact)?, less(closing, opening)?, view.digits)?;
            months.push(RolledMonth {
                month: &row.month,
                opening,
                moved: signed([moved[0], moved[1], moved[2], moved[3]])?,
                closing,
            });
            opening = closing;
        }
        found.extend(rows.first().map(|row| RolledModel {
            model_id: &row.model_id,
            months,
        }));
    }
    Ok(found)
}

/// The versions of a model, in cents.
pub struct VersionsOf<'a> {
    pub model_id: &'a str,
    /// With incurred, transferred, recognised and written off, and what is left of them.
    pub versions: Vec<(&'a VersionCost, [Money; 4], Money)>,
}

/// The versions of each model; they add up to all that its roll-forward moved, and to its last closing.
pub fn versions<'a>(view: &View<'a>) -> Result<Vec<VersionsOf<'a>>, ReportError> {
    let rolled = roll_forward(view)?;
    let mut found = Vec::new();
    for rows in view.data.versions.chunk_by(|a, b| a.model_id == b.model_id) {
        let Some(model) = rows.first().map(|row| row.model_id.as_str()) else {
            continue;
        };
        let mut totals = [Money::ZERO; 4];
        let mut closing = Money::ZERO;
        for month in rolled
            .iter()
            .filter(|rolled| rolled.model_id == model)
            .flat_map(|rolled| &rolled.months)
        {
            add(&mut totals, &signed(month.moved)?)?;
            closing = month.closing;
        }
        let exact: Vec<Money> = rows.iter().map(|row| row.closing).collect();
        let closings = fit(&exact, closing, view.digits)?;
        let cells = rows
            .iter()
            .map(|row| {
                let moved = [
                    row.incurred,
                    row.transferred,
                    row.recognised,
                    row.written_off,
                ];
                Ok(signed(moved)?.to_vec())
            })
            .collect::<Result<Vec<_>, ReportError>>()?;
        let cells = grid(&cells, &closings, &totals, view.digits)?;
        let versions = rows
            .iter()
            .zip(cells.into_iter().zip(closings))
            .map(|(row, (cells, closing))| {
                let moved = signed([cells[0], cells[1], cells[2], cells[3]])?;
                Ok((row, moved, closing))
            })
            .collect::<Result<_, ReportError>>()?;
        found.push(VersionsOf {
            model_id: model,
            versions,
        });
    }
    Ok(found)
}

/// What became of a version, in words.
pub fn state(version: &VersionCost) -> &'static str {
    match version {
        VersionCost {
            model_version: None,
            served: 0,
            ..
        } => "waits for a version",
        VersionCost { served: 0, .. } if version.written_off.0 != 0 => "never shipped, written off",
        VersionCost { served: 0, .. } => "never shipped",
        _ if version.closing.0 == 0 && version.written_off.0 != 0 => "retired",
        _ if version.life_left == 0 => "recognised in full",
        _ => "in service",
    }
}
