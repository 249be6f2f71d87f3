//! The words of an explanation of what was recommended in one response.

use super::model::roll_forward;
use super::{amount, cell, largest_parts, shown, table, words};
use crate::attribution::explain::{Explanation, Row};

/// The explanation as text.
pub fn text(found: &Explanation) -> String {
    let Explanation::Recommendation {
        subject,
        recommendations,
        shares,
        model_day,
        service_life,
        largest,
        outcomes,
    } = found
    else {
        return String::new();
    };
    let mut lines = vec![subject.clone()];
    lines.extend(of_costs(recommendations));
    lines.extend(of_shares(shares));
    lines.extend(of_model_day(model_day, service_life));
    if !largest.is_empty() {
        lines.push(format!(
            "\nthe {} largest parts of running it on that day, and the bill rows they come from",
            largest.len()
        ));
        lines.extend(largest_parts(largest));
    }
    lines.extend(of_outcomes(outcomes));
    lines.join("\n")
}

fn of_costs(recommendations: &[Row]) -> Vec<String> {
    let mut lines = vec![];
    let mut before = String::new();
    for row in recommendations {
        let by = format!(
            "  shown on {} by {}",
            cell(row, "ds"),
            words(row, &["model_id", "model_version", "surface"])
        );
        if by != before {
            lines.push(by.clone());
            before = by;
        }
    }
    let heads = [
        ("item_id", "item"),
        ("currency", ""),
        ("rank", "rank"),
        ("run_cost", "run"),
        ("making_cost", "making"),
        ("overhead_cost", "overhead"),
        ("full_cost", "full cost"),
    ];
    lines.extend(table(recommendations, &heads, 2, shown));
    lines
}

fn of_shares(shares: &[Row]) -> Vec<String> {
    if shares.is_empty() {
        return vec!["\nits model cost nothing on that day".into()];
    }
    let mut lines = vec![
        "\nas shares of what its model cost on that day: amount × weight / of all".to_string(),
    ];
    let heads = [
        ("item_id", "item"),
        ("part", "part"),
        ("divided_over", "divided over what was shown by"),
        ("currency", ""),
        ("amount", "amount"),
        ("weight", "weight"),
        ("weight_total", "of all"),
        ("divided_by", "by"),
        ("share", "share"),
    ];
    lines.extend(table(shares, &heads, 4, |row, name| {
        match (name, cell(row, name).as_ref()) {
            ("divided_over", "") => "all its versions".into(),
            ("divided_by", "compute_ns") => "computing time (ns)".into(),
            ("part", part) => part.trim_end_matches("_cost").into(),
            _ => shown(row, name),
        }
    }));
    lines.push("  each is rounded down at the 18th place; the units left go one each to the largest remainders, ties in the order of request and item".into());
    lines
}

fn of_model_day(model_day: &[Row], service_life: &[Row]) -> Vec<String> {
    let mut lines = vec![];
    if !model_day.is_empty() {
        lines.push(
            "\nwhat running its model cost on that day, by part, stage, category and rule".into(),
        );
        let heads = [
            ("part", "part"),
            ("model_version", "version"),
            ("stage", "stage"),
            ("category", "category"),
            ("rule", "rule"),
            ("driver", "by"),
            ("currency", ""),
            ("effective", "effective"),
        ];
        lines.extend(table(model_day, &heads, 7, |row, name| match name {
            "part" => match cell(row, "overhead").as_ref() {
                "" => "run".into(),
                overhead => format!("overhead: {overhead}"),
            },
            _ => shown(row, name),
        }));
    }
    if !service_life.is_empty() {
        lines.push("\nwhat was recognised on that day of the cost to make its versions".into());
        lines.extend(roll_forward(service_life));
        let versions = service_life
            .iter()
            .map(|row| format!("{}@{}", cell(row, "model_id"), cell(row, "model_version")));
        let mut versions: Vec<String> = versions.collect();
        versions.dedup();
        lines.push(format!(
            "  made of: recost explain PIPELINE {}",
            versions.join(" | ")
        ));
    }
    lines
}

fn of_outcomes(outcomes: &[Row]) -> Vec<String> {
    if outcomes.is_empty() {
        return vec!["\nit brought no click and no purchase".into()];
    }
    let mut lines = vec!["\nwhat it brought".to_string()];
    for row in outcomes {
        let revenue = match cell(row, "revenue").as_ref() {
            "" => String::new(),
            _ => format!(
                ", revenue {} {}",
                amount(row, "revenue"),
                cell(row, "currency")
            ),
        };
        let margin = match cell(row, "margin").as_ref() {
            "" => String::new(),
            _ => format!(
                ", margin {} {}",
                amount(row, "margin"),
                cell(row, "currency")
            ),
        };
        lines.push(format!(
            "  {} of {} at {}, credited by {}{revenue}{margin}",
            cell(row, "event_type"),
            cell(row, "item_id"),
            cell(row, "event_time"),
            cell(row, "credited_by").replace('_', " "),
        ));
    }
    lines
}
