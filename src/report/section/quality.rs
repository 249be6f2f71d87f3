//! Quality against the popularity baseline, and next to cost.

use super::{alert, marked, section};
use crate::report::ReportError;
use crate::report::data::{QualityMetric, QualityPair, ReportData};
use crate::report::marks::Marks;
use crate::report::plot::{Axes, Point, scatter};
use crate::report::svg::figure;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{amount, count, escape, label, ratio_digits, score, shorten};
use crate::report::view::{View, baseline, main_metric};

/// The section for all models.
pub fn html(data: &ReportData, views: &[View], marks: &Marks) -> Result<String, ReportError> {
    let heading = "Quality, next to cost";
    let Some((metric, k)) = main_metric(data) else {
        let intro = "No model was evaluated in this run, so nothing can be said about quality.";
        return Ok(section("quality", heading, intro, ""));
    };
    let mut body = String::new();
    for model in data
        .models
        .iter()
        .filter(|model| model.beats_baseline == Some(false))
    {
        let text = format!(
            "<b>{}</b> does not beat the popularity baseline: a list of best sellers finds at least as much.",
            label(&model.model_id)
        );
        body.push_str(&alert(&text));
    }
    for view in views {
        body.push_str(&plot(data, view, marks, metric, k)?);
    }
    body.push_str(&pairs(data, marks, metric, k));
    body.push_str(&table(data, marks));
    let protocols: std::collections::BTreeSet<&str> = data
        .quality
        .iter()
        .map(|metric| metric.protocol.as_str())
        .collect();
    let protocols: Vec<String> = protocols.into_iter().map(escape).collect();
    let intro = format!(
        "Measured on held-out days ({}). The baseline shows everyone the most popular items; a model that does not beat it is marked ▼.",
        protocols.join("; ")
    );
    Ok(section("quality", heading, &intro, &body))
}

fn fails(data: &ReportData, metric: &QualityMetric) -> bool {
    let verdict = data.models.iter().find(|model| {
        model.model_id == metric.model_id && model.model_version == metric.model_version
    });
    verdict.is_some_and(|verdict| verdict.beats_baseline == Some(false))
}

fn plot(
    data: &ReportData,
    view: &View,
    marks: &Marks,
    metric: &str,
    k: u32,
) -> Result<String, ReportError> {
    let mut points = Vec::new();
    let mut without = Vec::new();
    for found in data
        .quality
        .iter()
        .filter(|found| found.metric == metric && found.k == k)
    {
        let unit = view
            .models
            .iter()
            .find(|unit| unit.model_id == found.model_id);
        let cost = unit.map(|unit| unit.full_per_1000()).transpose()?.flatten();
        let Some(cost) = cost.filter(|cost| cost.0 >= 0) else {
            if !found.is_baseline && !without.contains(&found.model_id) {
                without.push(found.model_id.clone());
            }
            continue;
        };
        let digits = ratio_digits(&[cost], view.digits);
        points.push(Point {
            mark: marks.model(&found.model_id),
            name: found.model_id.clone(),
            cost,
            value: found.value,
            low: found.low,
            high: found.high,
            fails: fails(data, found),
            tip: format!(
                "{}: {metric}@{k} {}, {} {} per 1,000",
                shorten(&found.model_id, 60),
                score(found.value),
                view.code(),
                amount(cost, digits)?
            ),
        });
    }
    if points.is_empty() {
        return Ok(format!(
            "<p>No model that was evaluated has a cost per 1,000 in {}.</p>\n",
            view.code()
        ));
    }
    let cost = format!("{} per 1,000 served, full cost", view.code());
    let quality = format!("{metric}@{k}");
    let axes = Axes {
        cost: &cost,
        quality: &quality,
        baseline: baseline(data, metric, k).map(|found| found.value),
    };
    let title = format!(
        "{} against cost per 1,000 in {}: better is up and to the left",
        shorten(&quality, 40),
        view.code()
    );
    let about = "A point per model; the vertical lines are 95 % intervals, the dashed line is the popularity baseline. The tables have the figures.";
    let mut out = figure(&title, about, "", |svg| scatter(svg, &points, &axes));
    if !without.is_empty() {
        let names: Vec<String> = without.iter().map(|id| label(id)).collect();
        out.push_str(&format!(
            "<p class=\"legend\">Not drawn, for want of a cost per 1,000 in {}: {}.</p>\n",
            view.code(),
            names.join(", ")
        ));
    }
    Ok(out)
}

/// Each pair of models once, the one with the higher value first.
fn pairs(data: &ReportData, marks: &Marks, metric: &str, k: u32) -> String {
    let higher = |pair: &&QualityPair| {
        pair.metric == metric
            && pair.k == k
            && (pair.difference > 0.0 || (pair.difference == 0.0 && pair.model_id < pair.other_id))
    };
    let mut table = Table::new(format!(
        "{}: each two models on the same users",
        escape(&named(metric, k))
    ))
    .words("Model")
    .words("Against")
    .numbers("Difference", "")
    .numbers("95 % interval", "")
    .words("Shown to be")
    .numbers("Users judged", "");
    for pair in data.pairs.iter().filter(higher) {
        let (verdict, _) = verdict(metric, pair.difference, Some(pair));
        table.row(
            Row::Leaf,
            vec![
                Cell::Html(marked(&marks.model(&pair.model_id), &pair.model_id)),
                Cell::Name(pair.other_id.clone()),
                signed(pair.difference),
                Cell::Number(format!("{} to {}", score(pair.low), score(pair.high))),
                Cell::Html(verdict.to_owned()),
                Cell::Number(count(pair.users)),
            ],
        );
    }
    if table.is_empty() {
        return String::new();
    }
    let about = "The interval is of the difference, user by user; where it holds 0, these users do not show that one model is better.";
    format!(
        "{}<p class=\"legend\">{about}</p>\n",
        table.sortable().html()
    )
}

/// What a difference says in words, and whether it stands out as bad.
fn verdict(metric: &str, difference: f64, pair: Option<&QualityPair>) -> (&'static str, bool) {
    const NEITHER: [&str; 5] = [
        "novelty",
        "popularity_lift",
        "diversity",
        "coverage",
        "gini",
    ];
    match (pair, NEITHER.contains(&metric)) {
        (Some(pair), _) if !pair.differs => ("no difference shown", false),
        (_, true) if difference > 0.0 => ("higher", false),
        (_, true) if difference < 0.0 => ("lower", false),
        (_, true) => ("the same", false),
        (_, false) if difference > 0.0 => ("▲ better", false),
        (Some(_), false) => ("▼ worse", true),
        (None, false) => ("▼ not better", true),
    }
}

fn named(metric: &str, k: u32) -> String {
    match k {
        0 => metric.to_owned(),
        k => format!("{metric}@{k}"),
    }
}

fn table(data: &ReportData, marks: &Marks) -> String {
    let mut metrics: Vec<&QualityMetric> = data.quality.iter().collect();
    metrics.sort_by_key(|found| {
        (
            &found.metric,
            found.k,
            found.is_baseline,
            &found.model_id,
            &found.model_version,
        )
    });
    let mut table = Table::new("Every metric")
        .words("Model")
        .words("Metric")
        .numbers("Value", "")
        .numbers("95 % interval", "")
        .numbers("Less baseline", "")
        .words("Against popularity")
        .numbers("Users judged", "");
    for found in metrics {
        let base = baseline(data, &found.metric, found.k).filter(|_| !found.is_baseline);
        let (difference, verdict, bad) = match base {
            None if found.is_baseline => (Cell::Empty, "baseline", false),
            None => (Cell::Missing, "no baseline", false),
            Some(base) => {
                let pair = data.pairs.iter().find(|pair| {
                    pair.model_id == found.model_id
                        && pair.other_id == base.model_id
                        && (&pair.metric, pair.k) == (&found.metric, found.k)
                });
                let difference = found.value - base.value;
                let (verdict, bad) = verdict(&found.metric, difference, pair);
                (signed(difference), verdict, bad)
            }
        };
        let interval = match (found.low, found.high) {
            (Some(low), Some(high)) => Cell::Number(format!("{} to {}", score(low), score(high))),
            _ => Cell::Missing,
        };
        table.row(
            if bad { Row::Alert } else { Row::Leaf },
            vec![
                Cell::Html(marked(&marks.model(&found.model_id), &found.model_id)),
                Cell::Name(named(&found.metric, found.k)),
                Cell::Number(score(found.value)),
                interval,
                difference,
                Cell::Html(verdict.to_owned()),
                Cell::Number(count(found.users)),
            ],
        );
    }
    format!(
        "<details><summary>The figures of every metric</summary>\n{}</details>\n",
        table.sortable().html()
    )
}

fn signed(value: f64) -> Cell {
    let text = score(value);
    Cell::Number(if value > 0.0 {
        format!("+{text}")
    } else {
        text
    })
}
