//! The unit view: what each version cost to make, and when that is recognised.

use super::{marked, section};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::data::ReportData;
use crate::report::making::{RolledMonth, roll_forward, state, versions};
use crate::report::marks::Marks;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{amount, count};
use crate::report::view::{View, add};

/// Versions of a model that the page lists, those that hold most; the workbook and the CSV file have all.
const MOST_VERSIONS: usize = 25;
const MOVEMENTS: [(&str, &str); 4] = [
    ("Incurred", "+"),
    ("Transferred", "+"),
    ("Recognised", "−"),
    ("Written off", "−"),
];

/// The section of one currency.
pub fn html(
    data: &ReportData,
    view: &View,
    marks: &Marks,
    id: &str,
    heading: &str,
) -> Result<String, ReportError> {
    let mut body = rolled(data, view, marks)?;
    if body.is_empty() {
        let none = "No model cost anything to make so far.";
        return Ok(section(id, heading, none, ""));
    }
    body.push_str(&by_version(view, marks)?);
    let intro = "Development, training and upgrade: effective cost, allocation basis. What a version cost to make is carried forward, and recognised in full cost over the days on which the version serves; what a version that is retired early still holds is written off, which is a loss of the model and no cost of any recommendation. Opening + incurred + transferred − recognised − written off = closing.";
    Ok(section(id, heading, intro, &body))
}

fn movements(table: Table) -> Table {
    MOVEMENTS
        .into_iter()
        .fold(table, |table, (head, sign)| table.numbers(head, sign))
}

fn amounts(view: &View, shown: &[Money]) -> Result<Vec<Cell>, ReportError> {
    let cells = shown.iter();
    cells
        .map(|&money| Ok(Cell::Number(amount(money, view.digits)?)))
        .collect()
}

/// Opening, movements and closing of several months of one model that follow each other, or of several models.
fn whole(
    months: &[&RolledMonth],
    opening: Money,
    closing: Money,
) -> Result<[Money; 6], ReportError> {
    let mut moved = [Money::ZERO; 4];
    for month in months {
        add(&mut moved, &month.moved)?;
    }
    let [incurred, transferred, recognised, written_off] = moved;
    Ok([
        opening,
        incurred,
        transferred,
        recognised,
        written_off,
        closing,
    ])
}

fn rolled(data: &ReportData, view: &View, marks: &Marks) -> Result<String, ReportError> {
    let caption = format!("Roll-forward by model <small>{}</small>", view.code());
    let mut table = movements(
        Table::new(caption)
            .words("Model")
            .words("Month")
            .numbers("Opening", ""),
    )
    .numbers("Closing", "");
    let models = roll_forward(view)?;
    let mut all = [Money::ZERO; 6];
    for model in &models {
        let wanted = |month: &&RolledMonth| {
            let period = data.period.as_deref();
            period.is_none_or(|period| period == month.month)
        };
        let months: Vec<&RolledMonth> = model.months.iter().filter(wanted).collect();
        let (Some(first), Some(last)) = (months.first(), months.last()) else {
            continue;
        };
        let title = || Cell::Html(marked(&marks.model(model.model_id), model.model_id));
        for month in &months {
            let cells = whole(&[month], month.opening, month.closing)?;
            let mut row = vec![title(), Cell::Name(month.month.to_owned())];
            row.extend(amounts(view, &cells)?);
            table.row(Row::Leaf, row);
        }
        let own = whole(&months, first.opening, last.closing)?;
        if months.len() > 1 {
            let mut row = vec![title(), Cell::Name("all months".to_owned())];
            row.extend(amounts(view, &own)?);
            table.row(Row::Subtotal, row);
        }
        for (total, amount) in all.iter_mut().zip(own) {
            *total = total.checked_add(amount)?;
        }
    }
    if table.is_empty() {
        return Ok(String::new());
    }
    let mut row = vec![Cell::Name("All models".to_owned()), Cell::Empty];
    row.extend(amounts(view, &all)?);
    table.row(Row::Total, row);
    Ok(table.html())
}

fn by_version(view: &View, marks: &Marks) -> Result<String, ReportError> {
    let caption = format!(
        "What each version cost to make, and what became of it <small>{}</small>",
        view.code()
    );
    let mut table = movements(
        Table::new(caption)
            .fine()
            .words("Version")
            .words("State")
            .numbers("First cost", "")
            .numbers("First served", "")
            .numbers("Last served", "")
            .numbers("Served", "recommendations"),
    )
    .numbers("Closing", "")
    .numbers("Life left", "");
    let day = |day: Option<chrono::NaiveDate>| day.map(|day| day.to_string());
    for model in versions(view)? {
        let mut listed: Vec<_> = model.versions.iter().collect();
        listed.sort_by_key(|(version, _, closing)| {
            let holds = std::cmp::Reverse(closing.0.unsigned_abs());
            (holds, std::cmp::Reverse(version.last_served))
        });
        let rest = listed.split_off(listed.len().min(MOST_VERSIONS));
        let mut total = [Money::ZERO; 5];
        let mut sum = |moved: &[Money; 4], closing: Money| -> Result<Vec<Money>, ReportError> {
            let amounts: Vec<Money> = moved.iter().copied().chain([closing]).collect();
            for (total, amount) in total.iter_mut().zip(&amounts) {
                *total = total.checked_add(*amount)?;
            }
            Ok(amounts)
        };
        for (version, moved, closing) in listed {
            let name = version.model_version.as_deref().unwrap_or("no version");
            let mut row = vec![
                Cell::Name(name.to_owned()),
                Cell::Html(state(version).to_owned()),
                Cell::Html(day(version.first_cost).unwrap_or_default()),
                Cell::Html(day(version.first_served).unwrap_or_default()),
                Cell::Html(day(version.last_served).unwrap_or_default()),
                Cell::Number(count(version.served)),
            ];
            row.extend(amounts(view, &sum(moved, *closing)?)?);
            row.push(Cell::Number(format!(
                "{} {}",
                count(version.life_left),
                version.life_unit
            )));
            table.row(Row::Leaf, row);
        }
        if !rest.is_empty() {
            let mut own = [Money::ZERO; 5];
            for (_, moved, closing) in &rest {
                for (own, amount) in own.iter_mut().zip(sum(moved, *closing)?) {
                    *own = own.checked_add(amount)?;
                }
            }
            let title = format!("{} other versions", count(rest.len() as u64));
            let mut row = vec![Cell::Name(title)];
            row.resize_with(6, || Cell::Empty);
            row.extend(amounts(view, &own)?);
            row.push(Cell::Empty);
            table.row(Row::Leaf, row);
        }
        let title = Cell::Html(marked(&marks.model(model.model_id), model.model_id));
        let mut row = vec![title];
        row.resize_with(6, || Cell::Empty);
        row.extend(amounts(view, &total)?);
        row.push(Cell::Empty);
        table.row(Row::Subtotal, row);
    }
    let note = "<p class=\"legend\">A version that never shipped has served nothing, and what it cost stays in closing until it is written off. What names no version waits for the next one that goes into service, and moves to it as transferred.</p>\n";
    Ok(table.html() + note)
}
