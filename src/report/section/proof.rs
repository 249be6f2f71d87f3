//! The proof that the report ties to the bill, with every digit.

use super::{alert, section};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::data::{Basis, Line, ReconciliationLine};
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{count, escape, exact, group, label, places};
use crate::report::view::{Pair, View};
use std::collections::BTreeSet;

const LINES: [(Line, &str); 7] = [
    (Line::Bill, "The bill"),
    (Line::Attributed, "less: attributed to models"),
    (Line::Idle, "less: idle"),
    (Line::Unallocated, "less: unallocated"),
    (Line::Difference, "Difference"),
    (Line::Restated, "Beside the bill: restated"),
    (Line::Quarantined, "Beside the bill: rejected"),
];

/// The section of one currency.
pub fn html(view: &View, id: &str, heading: &str) -> Result<String, ReportError> {
    if view.data.reconciliation.is_empty() {
        return Ok(section(
            id,
            heading,
            "",
            &alert("There is no reconciliation for this currency."),
        ));
    }
    let gaps = view.gaps()?;
    let mut body = if gaps.is_empty() {
        "<p class=\"proof\"><strong>✓ Ties.</strong> Bill − attributed − idle − unallocated = 0, billed and effective, on both bases, with zero tolerance; and the cost lines of this report add up to the same totals.</p>\n".to_owned()
    } else {
        let gaps: Vec<String> = gaps.iter().map(|gap| escape(gap)).collect();
        alert(&format!("Does not tie. {}.", gaps.join("; ")))
    };
    let bills: BTreeSet<(&str, &str)> = view
        .data
        .reconciliation
        .iter()
        .map(|line| (line.period.as_str(), line.issuer.as_str()))
        .collect();
    if bills.len() > 1 {
        body.push_str(&table(view, "All bills together", |_| true)?.0);
    }
    for (period, issuer) in &bills {
        let caption = format!("{}, billing period {}", label(issuer), label(period));
        let of = |line: &ReconciliationLine| line.period == *period && line.issuer == *issuer;
        let (table, rounding) = table(view, &caption, of)?;
        body.push_str(&table);
        body.push_str(&rounding);
    }
    let intro = "Amounts as they are kept, with every digit; those past the cents are paler. Nothing here is rounded.";
    Ok(section(id, heading, intro, &body))
}

/// The table, and a note on what reading rounded off.
fn table(
    view: &View,
    caption: &str,
    of: impl Fn(&ReconciliationLine) -> bool,
) -> Result<(String, String), ReportError> {
    let lines: Vec<&ReconciliationLine> = view
        .data
        .reconciliation
        .iter()
        .filter(|line| of(line))
        .collect();
    let shown = lines
        .iter()
        .flat_map(|line| [line.billed, line.effective])
        .flatten();
    let width = shown
        .map(places)
        .max()
        .unwrap_or(0)
        .max(view.digits as usize);
    let mut table = Table::new(format!("{caption} <small>{}</small>", view.code()))
        .fine()
        .words("Line")
        .numbers("Rows", "")
        .numbers("Effective", "usage basis")
        .numbers("Effective", "allocation basis")
        .numbers("Billed", "usage basis")
        .numbers("Billed", "allocation basis");
    for (line, title) in LINES {
        let usage = pair(&lines, Basis::Usage, line)?;
        let allocation = pair(&lines, Basis::Allocation, line)?;
        let (Some(first), last) = (usage.or(allocation), allocation) else {
            continue;
        };
        let kind = match line {
            Line::Bill => Row::Subtotal,
            Line::Difference => Row::Total,
            _ => Row::Leaf,
        };
        let cell = |pair: Option<Pair>, of: fn(&Pair) -> Money| match pair {
            None => Cell::Empty,
            Some(pair) => {
                let more = if pair.unreadable {
                    "<br/><small>+ unreadable</small>"
                } else {
                    ""
                };
                let money = of(&pair);
                let text = if line == Line::Difference && money.0 == 0 {
                    "0".to_owned()
                } else {
                    exact(money, width, view.digits)
                };
                Cell::Html(format!("{text}{more}"))
            }
        };
        let rows = if line == Line::Difference {
            Cell::Empty
        } else {
            Cell::Number(count(first.rows))
        };
        table.row(
            kind,
            vec![
                Cell::Name(title.to_owned()),
                rows,
                cell(usage, |pair| pair.effective),
                cell(last, |pair| pair.effective),
                cell(usage, |pair| pair.billed),
                cell(last, |pair| pair.billed),
            ],
        );
    }
    Ok((table.html(), rounding(view, &lines)))
}

fn pair(
    lines: &[&ReconciliationLine],
    basis: Basis,
    line: Line,
) -> Result<Option<Pair>, ReportError> {
    let mut found: Option<Pair> = None;
    for row in lines
        .iter()
        .filter(|row| row.basis == basis && row.line == line)
    {
        let pair = found.get_or_insert_default();
        pair.rows = pair.rows.saturating_add(row.rows);
        pair.unreadable |= row.billed.is_none() || row.effective.is_none();
        pair.billed = pair.billed.checked_add(row.billed.unwrap_or_default())?;
        pair.effective = pair
            .effective
            .checked_add(row.effective.unwrap_or_default())?;
    }
    Ok(found)
}

/// What reading at 18 places took away.
fn rounding(view: &View, lines: &[&ReconciliationLine]) -> String {
    let mut seen: Vec<String> = Vec::new();
    for line in lines
        .iter()
        .filter(|line| line.line == Line::IngestRounding && line.basis == Basis::Usage)
    {
        let digits =
            |residue: Option<crate::money::Residue>, money: Option<Money>| match (residue, money) {
                (Some(residue), _) => group(&residue.to_string()),
                (None, Some(money)) => group(&money.to_string()),
                (None, None) => "0".to_owned(),
            };
        seen.push(format!(
            "effective {}, billed {}",
            digits(line.effective_rounding, line.effective),
            digits(line.billed_rounding, line.billed)
        ));
    }
    if seen.is_empty() {
        return String::new();
    }
    format!(
        "<p class=\"legend\">Digits beyond 18 places in the files, which reading rounded off, {}: {}.</p>\n",
        view.code(),
        seen.join("; ")
    )
}
