//! The words of an explanation of a model, a version, idle, or what has no owner.

use std::collections::{BTreeMap, BTreeSet};

use super::{cell, largest_parts, place, shown, table, with_places};
use crate::attribution::explain::{Explanation, Row};
use crate::cli::print::{columns, short};
use crate::money::Money;

/// The explanation as text.
pub fn text(found: &Explanation) -> String {
    let Explanation::Model {
        model_id,
        totals,
        largest,
        restatements,
        changes,
        service_life,
        making,
    } = found
    else {
        return String::new();
    };
    let mut lines = vec![format!(
        "{model_id}: cost by period, stage, category and rule"
    )];
    lines.extend(of_totals(totals));
    lines.push(format!(
        "\nits {} largest parts, and the bill rows they come from",
        largest.len()
    ));
    lines.extend(largest_parts(largest));
    lines.extend(recognised(service_life));
    if !making.is_empty() {
        lines.push(format!(
            "\nthe {} largest parts of its cost to make, whenever it was incurred",
            making.len()
        ));
        lines.extend(largest_parts(making));
    }
    if !restatements.is_empty() {
        lines.push("\nrestated for closed periods".into());
        let heads = [
            ("billing_period", "booked in"),
            ("restated_period", "for"),
            ("model_version", "version"),
            ("stage", "stage"),
            ("category", "category"),
            ("currency", ""),
            ("usage_effective", "usage basis"),
            ("allocation_effective", "allocation basis"),
        ];
        lines.extend(table(restatements, &heads, 6, shown));
    }
    if !changes.is_empty() {
        lines.push("\nthe bill rows that were restated, largest first".into());
        lines.extend(of_changes(changes));
    }
    lines.join("\n")
}

fn of_changes(changes: &[Row]) -> Vec<String> {
    let heads = [
        ("row_id", "charge"),
        ("restated_period", "of"),
        ("change", ""),
        ("effective", "effective"),
        ("currency", ""),
    ];
    with_places(changes, &heads, 3, place)
}

fn of_totals(totals: &[Row]) -> Vec<String> {
    let heads = [
        ("billing_period", "period"),
        ("stage", "stage"),
        ("category", "category"),
        ("rule", "rule"),
        ("currency", ""),
        ("usage_effective", "usage basis"),
        ("allocation_effective", "allocation basis"),
        ("usage_billed", "billed"),
    ];
    let mut table = vec![heads.map(|(_, head)| head.to_string()).to_vec()];
    let row = |row: &Row| heads.map(|(name, _)| shown(row, name)).to_vec();
    table.extend(totals.iter().map(row));
    table.extend(sums(totals));
    columns(&table, 5)
}

/// The sums of a model's amounts, a row per currency; none where there is nothing to add up.
fn sums(totals: &[Row]) -> Vec<Vec<String>> {
    let names = ["usage_effective", "allocation_effective", "usage_billed"];
    let mut sums: BTreeMap<String, [Option<Money>; 3]> = BTreeMap::new();
    for row in totals {
        let currency = cell(row, "currency").into_owned();
        let sum = sums.entry(currency).or_insert([Some(Money::ZERO); 3]);
        for (sum, name) in sum.iter_mut().zip(names) {
            let amount = Money::parse(&cell(row, name)).ok();
            *sum = sum
                .zip(amount)
                .and_then(|(sum, (amount, _))| sum.checked_add(amount).ok());
        }
    }
    let row = |(currency, sums): (String, [Option<Money>; 3])| {
        let mut cells = vec![
            "in all".to_string(),
            String::new(),
            String::new(),
            String::new(),
        ];
        cells.push(currency);
        cells.extend(sums.map(|sum| sum.map_or_else(String::new, |sum| short(&sum.to_string()))));
        cells
    };
    sums.into_iter().map(row).collect()
}

/// The roll-forward of the cost to make: by month or by day, and by which policies.
fn recognised(service_life: &[Row]) -> Vec<String> {
    let Some(first) = service_life.first() else {
        return vec![];
    };
    let by_day = first.contains_key("day");
    let mut lines = vec![format!(
        "\nits cost to make (development, training, upgrade), recognised over the service life, by {}",
        if by_day { "day" } else { "month" }
    )];
    lines.extend(roll_forward(service_life));
    let policies: BTreeSet<_> = service_life.iter().map(|row| cell(row, "policy")).collect();
    for policy in policies {
        lines.push(format!("  policy: {policy}"));
    }
    lines.push("  opening + incurred + transferred - recognised - written off = closing; a day recognises (opening + incurred + transferred) × used / life left before it".into());
    lines
}

/// Its lines, with the version that each is of.
pub fn roll_forward(service_life: &[Row]) -> Vec<String> {
    let by_day = service_life
        .first()
        .is_some_and(|row| row.contains_key("day"));
    let heads = [
        ("model_version", "version"),
        if by_day {
            ("day", "day")
        } else {
            ("month", "month")
        },
        ("currency", ""),
        ("opening", "opening"),
        ("incurred", "incurred"),
        ("transferred", "transferred"),
        ("recognised", "recognised"),
        ("written_off", "written off"),
        ("closing", "closing"),
        ("used", "used"),
        ("life_before", "of life left"),
        ("life_unit", ""),
        ("recognised_per_unit", "recognised for each"),
    ];
    table(service_life, &heads, 3, |row, name| match name {
        "model_version" => match cell(row, name).as_ref() {
            "" => "(none named)".into(),
            version => version.into(),
        },
        _ => shown(row, name),
    })
}
