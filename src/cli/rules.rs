//! What routing rules would take of the bill, for people and as JSON.

use serde_json::{Value, json};

use super::print::{columns, short, thousands};
use crate::attribution::Taken;
use crate::attribution::preview::Preview;

/// Lines of a table: the rules that take something, and the pipeline's own that take nothing, with the reason.
pub fn lines(preview: &Preview) -> Vec<String> {
    let mut lines = of_open(preview);
    if !preview.restated.is_empty() {
        lines.push(format!(
            "closed periods whose bills came later: {}; what differs would be restated",
            preview.restated.join(", ")
        ));
    }
    lines
}

fn of_open(preview: &Preview) -> Vec<String> {
    if preview.charges == 0 {
        return vec!["no charges of an open period to attribute".into()];
    }
    let mut table = vec![
        ["rule", "charges", "billed", "effective", ""]
            .map(String::from)
            .to_vec(),
    ];
    let mut notes = vec![String::new()];
    for (name, _, own, taken) in &preview.rules {
        if taken.charges == 0 && !own {
            continue;
        }
        let mut note = note(preview, taken);
        let mut cells = [name.clone(), thousands(taken.charges)];
        if taken.costs.is_empty() {
            let [name, charges] = cells;
            table.push(vec![
                name,
                charges,
                String::new(),
                String::new(),
                String::new(),
            ]);
            notes.push(note);
            continue;
        }
        for (currency, (billed, effective)) in &taken.costs {
            let [name, charges] = cells;
            table.push(vec![
                name,
                charges,
                short(&billed.to_string()),
                short(&effective.to_string()),
                currency.to_string(),
            ]);
            notes.push(std::mem::take(&mut note));
            cells = Default::default();
        }
    }
    let head = format!(
        "rules over {}, {} charges",
        preview.periods.join(", "),
        thousands(preview.charges)
    );
    let rows = columns(&table, 1).into_iter().zip(notes);
    let rows = rows.map(|(row, note)| format!("{row}{note}"));
    std::iter::once(head).chain(rows).collect()
}

/// Why a rule takes nothing, or which charges that it matches go elsewhere.
fn note(preview: &Preview, taken: &Taken) -> String {
    let lost: Vec<String> = taken
        .lost
        .iter()
        .map(|(rule, charges)| {
            let name = preview.rules.get(*rule).map_or("", |rule| rule.0.as_str());
            format!("{} to `{name}`", thousands(*charges))
        })
        .collect();
    match (taken.charges, lost.is_empty()) {
        (0, true) => "  matches no charge".into(),
        (0, false) => format!("  never comes to a charge: {}", lost.join(", ")),
        (_, _) => String::new(),
    }
}

/// The same, with every rule.
pub fn json(preview: &Preview) -> Value {
    let rule = |(name, version, own, taken): &(String, String, bool, Taken)| {
        let costs = taken.costs.iter().map(|(currency, (billed, effective))| {
            json!({
                "currency": currency.to_string(),
                "billed": billed.to_string(),
                "effective": effective.to_string(),
            })
        });
        let lost = taken.lost.iter().map(|(rule, charges)| {
            let name = preview.rules.get(*rule).map(|rule| rule.0.as_str());
            json!({"rule": name, "charges": charges})
        });
        json!({
            "rule": name,
            "version": version,
            "own": own,
            "charges": taken.charges,
            "costs": costs.collect::<Vec<_>>(),
            "taken_by_earlier_rules": lost.collect::<Vec<_>>(),
        })
    };
    json!({
        "billing_periods": preview.periods,
        "restated": preview.restated,
        "charges": preview.charges,
        "rules": preview.rules.iter().map(rule).collect::<Vec<_>>(),
    })
}
