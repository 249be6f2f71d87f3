//! What a recommendation costs: per 1,000 by model, and per surface with what came of it.

use super::{marked, section};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::charts::{Segment, Stack, bars};
use crate::report::data::Target;
use crate::report::marks::Marks;
use crate::report::round::{less, per};
use crate::report::shown;
use crate::report::svg::figure;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{MISSING, amount, count, rate, ratio_digits, shorten};
use crate::report::view::{UnitSum, View, agree};

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
                tip: tip("cost to make, tax and idle share", rest)?,
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
    .numbers("Full cost", "")
    .numbers("Full cost", "per 1,000");
    for (unit, run, full) in &ratios {
        let model = Target::Model(unit.model_id.clone());
        // Agrees with the cost tables wherever the exact amounts do.
        let shown = agree(view, &model, 1, &[unit.full_cost])?;
        table.row(
            Row::Leaf,
            vec![
                Cell::Html(marked(&marks.model(&unit.model_id), &unit.model_id)),
                Cell::Number(count(unit.served)),
                Cell::Number(amount(unit.run_cost, view.digits)?),
                Cell::number(text(*run)?),
                Cell::Number(amount(
                    shown.first().copied().unwrap_or_default(),
                    view.digits,
                )?),
                Cell::number(text(*full)?),
            ],
        );
    }
    body.push_str(&table.html());
    let intro = "Run cost is deployment and operations on the usage basis, without tax. Full cost adds tax, the share of idle, and what is recognised of the cost to make the versions over their service life. Where nothing was served there is no ratio, so the report says n/a and not 0.";
    Ok(section(id, heading, intro, &body))
}

/// Outcomes and costs per surface.
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
    let mut digits = [2; 3];
    for (place, of) in RATIOS.into_iter().enumerate() {
        let ratios: Vec<Option<Money>> = view
            .surfaces
            .iter()
            .chain(&view.models)
            .map(of)
            .collect::<Result<_, _>>()?;
        let ratios: Vec<Money> = ratios.into_iter().flatten().collect();
        digits[place] = ratio_digits(&ratios, view.digits).min(6);
    }
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
    .numbers("Purchases", "")
    .numbers("Revenue", "")
    .numbers("Run cost", "")
    .numbers("Full cost", "")
    .numbers("Full cost", "per 1,000")
    .numbers("Full cost", "per click")
    .numbers("Full cost", "per purchase");
    for shown::Surfaces { model, parts } in shown::surfaces(view)? {
        let (mut run_total, mut full_total) = (Money::ZERO, Money::ZERO);
        let mut revenue_total: Option<Money> = None;
        for shown::Surface {
            unit: part,
            revenue,
            run,
            full,
        } in parts
        {
            if let Some(revenue) = revenue {
                revenue_total = Some(revenue_total.unwrap_or_default().checked_add(revenue)?);
            }
            run_total = run_total.checked_add(run)?;
            full_total = full_total.checked_add(full)?;
            let title = part
                .surface
                .clone()
                .unwrap_or_else(|| "no surface".to_owned());
            table.row(
                Row::Leaf,
                line(
                    view,
                    Cell::Name(title),
                    part,
                    [Some(run), Some(full), revenue],
                    digits,
                )?,
            );
        }
        let title = Cell::Html(marked(&marks.model(&model.model_id), &model.model_id));
        table.row(
            Row::Subtotal,
            line(
                view,
                title,
                model,
                [Some(run_total), Some(full_total), revenue_total],
                digits,
            )?,
        );
    }
    let intro = "Clicks and purchases are those that followed a recommendation, each credited once. Revenue is their price, not a margin.";
    Ok(section(id, heading, intro, &table.html()))
}

/// `None` where the denominator is 0.
type Ratio = fn(&UnitSum) -> Result<Option<Money>, ReportError>;

/// Full cost per 1,000 served, per click and per purchase.
const RATIOS: [Ratio; 3] = [
    UnitSum::full_per_1000,
    |unit| per(unit.full_cost, 1, unit.clicks),
    |unit| per(unit.full_cost, 1, unit.purchases),
];

fn line(
    view: &View,
    title: Cell,
    unit: &UnitSum,
    [run, full, revenue]: [Option<Money>; 3],
    digits: [u32; 3],
) -> Result<Vec<Cell>, ReportError> {
    let money = |value: Option<Money>, digits: u32| -> Result<Cell, ReportError> {
        Ok(Cell::number(
            value.map(|value| amount(value, digits)).transpose()?,
        ))
    };
    let rated = if unit.served == 0 {
        Cell::Missing
    } else {
        Cell::Number(rate(unit.clicks, unit.served))
    };
    let mut cells = vec![
        title,
        Cell::Number(count(unit.served)),
        Cell::Number(count(unit.requests)),
        Cell::Number(count(unit.clicks)),
        rated,
        Cell::Number(count(unit.purchases)),
        money(revenue, view.digits)?,
        money(run, view.digits)?,
        money(full, view.digits)?,
    ];
    for (of, digits) in RATIOS.into_iter().zip(digits) {
        cells.push(money(of(unit)?, digits)?);
    }
    Ok(cells)
}
