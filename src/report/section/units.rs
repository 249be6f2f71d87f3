//! What a recommendation costs: per 1,000 by model, and per surface with what came of it.

use super::{marked, section};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::charts::{Segment, Stack, bars};
use crate::report::marks::Marks;
use crate::report::round::{less, per};
use crate::report::shown::{self, Surfaces};
use crate::report::svg::figure;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{MISSING, amount, count, rate, ratio_digits, shorten};
use crate::report::view::{UnitSum, View, add};

/// Cost per 1,000 by model.
pub fn per_1000(
    view: &View,
    marks: &Marks,
    id: &str,
    heading: &str,
) -> Result<String, ReportError> {
    if view.models.is_empty() {
        return Ok(section(
            id,
            heading,
            "No model served or cost anything in this period.",
            "",
        ));
    }
    let mut ratios = Vec::new();
    for unit in &view.models {
        ratios.push((unit, unit.run_per_1000()?, unit.full_per_1000()?));
    }
    let all: Vec<Money> = ratios
        .iter()
        .flat_map(|(_, run, full)| [*run, *full])
        .flatten()
        .collect();
    let digits = ratio_digits(&all, view.digits);
    let text = |ratio: Option<Money>| ratio.map(|ratio| amount(ratio, digits)).transpose();

    let mut stacks = Vec::new();
    for (unit, run, full) in &ratios {
        let mark = marks.model(&unit.model_id);
        let mut segments = Vec::new();
        if let (Some(run), Some(full)) = (run, full) {
            let rest = less(*full, *run)?;
            let name = shorten(&unit.model_id, 60);
            let tip = |what: &str, money: Money| -> Result<String, ReportError> {
                Ok(format!(
                    "{name}, {what}: {} {} per 1,000",
                    view.code(),
                    amount(money, digits)?
                ))
            };
            let soft = crate::report::marks::Mark {
                class: format!("{} soft", mark.class),
                letter: String::new(),
            };
            segments.push(Segment {
                mark: mark.clone(),
                amount: *run,
                tip: tip("run cost", *run)?,
            });
            segments.push(Segment {
                mark: soft,
                amount: rest,
                tip: tip("tax, idle share and cost to make", rest)?,
            });
        }
        let note = match text(*full)? {
            Some(full) => format!("{} {full}", view.code()),
            None => format!("{MISSING}: nothing served"),
        };
        stacks.push(Stack {
            label: format!("{}  {}", mark.letter, unit.model_id),
            note,
            segments,
        });
    }
    let about = "One bar per model: full cost per 1,000 recommendations served, of which run cost is the first, darker part. The table below has the figures.";
    let key =
        "<p class=\"legend\">First part: run cost. Paler part, framed: the rest of full cost.</p>";
    let mut body = figure(
        &format!("{} per 1,000 recommendations served", view.code()),
        about,
        key,
        |svg| bars(svg, &stacks),
    );

    let mut table = Table::new(format!(
        "Cost per 1,000 recommendations, with numerator and denominator <small>{}</small>",
        view.code()
    ))
    .words("Model")
    .numbers("Served", "recommendations")
    .numbers("Run cost", "")
    .numbers("Run cost", "per 1,000")
    .numbers("Overhead", "tax, idle")
    .numbers("Making", "recognised")
    .numbers("Full cost", "the three")
    .numbers("Full cost", "per 1,000");
    for (unit, run, full) in &ratios {
        let [run_cost, overhead, making, full_cost] = shown::unit_costs(view, unit)?;
        table.row(
            Row::Leaf,
            vec![
                Cell::Html(marked(&marks.model(&unit.model_id), &unit.model_id)),
                Cell::Number(count(unit.served)),
                Cell::Number(amount(run_cost, view.digits)?),
                Cell::number(text(*run)?),
                Cell::Number(amount(overhead, view.digits)?),
                Cell::Number(amount(making, view.digits)?),
                Cell::Number(amount(full_cost, view.digits)?),
                Cell::number(text(*full)?),
            ],
        );
    }
    body.push_str(&table.html());
    let intro = "Run cost is deployment and operations on the usage basis, without tax. Full cost adds the overhead (tax on running, and the share of idle) and what is recognised of the cost to make the versions over their service life, so it is not what the period view shows for the model: that has the cost to make when it is incurred. Where nothing was served there is no ratio, so the report says n/a and not 0.";
    Ok(section(id, heading, intro, &body))
}

/// What each model and surface cost and brought, and the ratios of the two.
pub fn surfaces(
    view: &View,
    marks: &Marks,
    id: &str,
    heading: &str,
) -> Result<String, ReportError> {
    if view.surfaces.is_empty() {
        return Ok(section(
            id,
            heading,
            "Nothing was served in this period.",
            "",
        ));
    }
    let models = shown::surfaces(view)?;
    let mut body = brought(view, marks, &models)?;
    body.push_str(&ratios(view, marks, &models)?);
    let intro = "Clicks and purchases are those that followed a recommendation, each credited once; a recommendation that is bought counts as one conversion, however often. Margin is what the items' unit cost leaves of the revenue, where the catalogue has it; an asterisk marks where it is known of a part of the revenue only. Where nothing was served, clicked or bought there is no ratio: n/a, and not 0.";
    Ok(section(id, heading, intro, &body))
}

/// A known amount, or n/a.
fn money(value: Option<Money>, digits: u32) -> Result<Cell, ReportError> {
    Ok(Cell::number(
        value.map(|value| amount(value, digits)).transpose()?,
    ))
}

/// A margin, marked where it is of a part of the revenue.
fn margin(unit: &UnitSum, text: Option<String>) -> Cell {
    let partly = unit.margin_revenue != unit.revenue;
    Cell::number(text.map(|text| if partly { format!("{text}*") } else { text }))
}

/// Counts and amounts: every numerator and denominator.
fn brought(view: &View, marks: &Marks, models: &[Surfaces]) -> Result<String, ReportError> {
    let mut table = Table::new(format!(
        "By model and surface <small>{}</small>",
        view.code()
    ))
    .fine()
    .words("Surface")
    .numbers("Served", "")
    .numbers("Requests", "")
    .numbers("Clicks", "")
    .numbers("Click rate", "of served")
    .numbers("Conversions", "")
    .numbers("Purchases", "")
    .numbers("Revenue", "")
    .numbers("Margin", "")
    .numbers("Run cost", "")
    .numbers("Overhead", "tax, idle")
    .numbers("Making", "recognised")
    .numbers("Full cost", "the three");
    let line = |title: Cell, unit: &UnitSum, brought: [Option<Money>; 2], costs: [Money; 4]| {
        let rated = if unit.served == 0 {
            Cell::Missing
        } else {
            Cell::Number(rate(unit.clicks, unit.served))
        };
        let [revenue, margins] = brought;
        let margins = margins
            .map(|money| amount(money, view.digits))
            .transpose()?;
        let mut cells = vec![
            title,
            Cell::Number(count(unit.served)),
            Cell::Number(count(unit.requests)),
            Cell::Number(count(unit.clicks)),
            rated,
            Cell::Number(count(unit.conversions)),
            Cell::Number(count(unit.purchases)),
            money(revenue, view.digits)?,
            margin(unit, margins),
        ];
        for cost in costs {
            cells.push(Cell::Number(amount(cost, view.digits)?));
        }
        Ok::<_, ReportError>(cells)
    };
    for Surfaces { model, parts } in models {
        let mut totals = [Money::ZERO; 4];
        let mut known: [Option<Money>; 2] = [None; 2];
        for part in parts {
            let [run, overhead, making] = part.costs;
            let costs = [run, overhead, making, part.full];
            add(&mut totals, &costs)?;
            for (known, own) in known.iter_mut().zip([part.revenue, part.margin]) {
                if let Some(own) = own {
                    *known = Some(known.unwrap_or_default().checked_add(own)?);
                }
            }
            let title = Cell::Name(surface(part.unit));
            let cells = line(title, part.unit, [part.revenue, part.margin], costs)?;
            table.row(Row::Leaf, cells);
        }
        let title = Cell::Html(marked(&marks.model(&model.model_id), &model.model_id));
        table.row(Row::Subtotal, line(title, model, known, totals)?);
    }
    Ok(table.html())
}

fn surface(unit: &UnitSum) -> String {
    let surface = unit.surface.clone();
    surface.unwrap_or_else(|| "no surface".to_owned())
}

/// A ratio; `None` where its denominator is 0.
type Ratio = fn(&UnitSum) -> Result<Option<Money>, ReportError>;

const HEADS: [(&str, &str); 8] = [
    ("Run cost", "per 1,000"),
    ("Full cost", "per 1,000"),
    ("Full cost", "per request"),
    ("Full cost", "per click"),
    ("Run cost", "per conversion"),
    ("Full cost", "per conversion"),
    ("Revenue", "÷ full cost"),
    ("Margin", "÷ full cost"),
];

/// In the order of [`HEADS`].
const RATIOS: [Ratio; 8] = [
    UnitSum::run_per_1000,
    UnitSum::full_per_1000,
    |unit| per(unit.full_cost, 1, unit.requests),
    |unit| per(unit.full_cost, 1, unit.clicks),
    |unit| per(unit.run_cost, 1, unit.conversions),
    |unit| per(unit.full_cost, 1, unit.conversions),
    |unit| Ok(unit.return_on_cost()),
    |unit| Ok(unit.margin_on_cost()),
];

fn ratios(view: &View, marks: &Marks, models: &[Surfaces]) -> Result<String, ReportError> {
    let mut table = Table::new(format!(
        "What a recommendation costs and returns <small>{}</small> · numerators and denominators are above",
        view.code()
    ))
    .fine()
    .words("Surface");
    let mut digits = [2; RATIOS.len()];
    for ((digits, of), (head, unit)) in digits.iter_mut().zip(RATIOS).zip(HEADS) {
        let all = view.surfaces.iter().chain(&view.models).map(of);
        let all: Vec<Option<Money>> = all.collect::<Result<_, _>>()?;
        let all: Vec<Money> = all.into_iter().flatten().collect();
        *digits = ratio_digits(&all, view.digits).min(6);
        table = table.numbers(head, unit);
    }
    let line = |title: Cell, unit: &UnitSum| {
        let mut cells = vec![title];
        for (place, (of, digits)) in RATIOS.into_iter().zip(digits).enumerate() {
            let value = of(unit)?;
            cells.push(if place + 1 == RATIOS.len() {
                let text = value.map(|value| amount(value, digits)).transpose()?;
                margin(unit, text)
            } else {
                money(value, digits)?
            });
        }
        Ok::<_, ReportError>(cells)
    };
    for Surfaces { model, parts } in models {
        for part in parts {
            table.row(Row::Leaf, line(Cell::Name(surface(part.unit)), part.unit)?);
        }
        let title = Cell::Html(marked(&marks.model(&model.model_id), &model.model_id));
        table.row(Row::Subtotal, line(title, model)?);
    }
    Ok(table.html())
}
