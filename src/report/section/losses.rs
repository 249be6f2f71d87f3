//! What has no owner: why, and where to look first.

use super::costs::{numbers, unit};
use crate::money::Money;
use crate::report::ReportError;
use crate::report::data::{ResourceCost, Target};
use crate::report::marks::name;
use crate::report::shown;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{escape, reason, shorten};
use crate::report::view::{Kind, View, add};
use std::collections::BTreeMap;

/// Why what is unallocated has no owner, largest first.
pub fn reasons(view: &View) -> Result<String, ReportError> {
    let mut sums: BTreeMap<&str, [Money; 4]> = BTreeMap::new();
    for leaf in view
        .leaves
        .iter()
        .filter(|leaf| leaf.line.target == Target::Unallocated)
    {
        let code = leaf.line.reason.as_deref().unwrap_or("no reason given");
        add(sums.entry(reason(code)).or_default(), &leaf.shown)?;
    }
    let mut table = Table::new(format!("Why it is unallocated{}", unit(view)))
        .words("Reason")
        .numbers("Effective", "")
        .numbers("Billed", "");
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, shown)| -shown[0].0);
    for (why, shown) in sums {
        let cells = numbers(view, &[shown[0], shown[2]])?;
        table.row(
            Row::Leaf,
            std::iter::once(Cell::Name(why.to_owned()))
                .chain(cells)
                .collect(),
        );
    }
    if table.is_empty() {
        return Ok("<p>Nothing is unallocated.</p>\n".to_owned());
    }
    let total = view.kind(Kind::Unallocated)?.1;
    let cells = numbers(view, &[total[0], total[2]])?;
    table.row(
        Row::Total,
        std::iter::once(Cell::Name("Unallocated".to_owned()))
            .chain(cells)
            .collect(),
    );
    Ok(table.html())
}

/// Where to look first: by service and account, for which a rule is written, and resource by resource.
pub fn html(view: &View) -> Result<String, ReportError> {
    let services = Table::new(format!(
        "Where to look first: idle and unallocated by service and account{}",
        unit(view)
    ))
    .words("Service")
    .words("Account")
    .words("What")
    .numbers("Resources", "")
    .numbers("Bill rows", "")
    .numbers("Effective", "")
    .numbers("Billed", "");
    let resources = Table::new(format!(
        "The dearest idle and unallocated resources{}",
        unit(view)
    ))
    .words("Resource")
    .words("Service")
    .words("What")
    .numbers("Bill rows", "")
    .numbers("Effective", "")
    .numbers("Billed", "");
    let counted = |value: u64| Cell::Number(crate::report::text::count(value));
    let mut out = lost_table(view, services, &view.data.services, |lost, what| {
        vec![
            Cell::Name(
                lost.service
                    .clone()
                    .unwrap_or_else(|| "no service".to_owned()),
            ),
            Cell::name(lost.account.as_deref()),
            what,
            counted(lost.resources),
            counted(lost.rows),
        ]
    })?;
    out.push_str(&lost_table(
        view,
        resources,
        &view.data.resources,
        |lost, what| {
            let id = lost.resource_id.as_deref().unwrap_or("no resource");
            vec![
                Cell::Name(id.to_owned()),
                Cell::name(lost.service.as_deref()),
                what,
                counted(lost.rows),
            ]
        },
    )?);
    Ok(out)
}

/// What is listed, all other, and the total: first of idle, then of what is unallocated.
fn lost_table(
    view: &View,
    mut table: Table,
    all: &[ResourceCost],
    head: impl Fn(&ResourceCost, Cell) -> Vec<Cell>,
) -> Result<String, ReportError> {
    for kind in [Kind::Idle, Kind::Unallocated] {
        let lost = shown::lost(view, all, kind)?;
        let Some((first, _)) = lost.listed.first() else {
            continue;
        };
        let owner = name(&first.target);
        let mut total = lost.rest;
        let mut width = 0;
        for (resource, amounts) in &lost.listed {
            let what = match &resource.reason {
                Some(code) => format!("{owner}: {}", shorten(reason(code), 60)),
                None => owner.to_owned(),
            };
            let mut cells = head(resource, Cell::Html(escape(&what)));
            width = cells.len();
            cells.extend(numbers(view, amounts)?);
            table.row(Row::Leaf, cells);
            for (total, amount) in total.iter_mut().zip(amounts) {
                *total = total.checked_add(*amount)?;
            }
        }
        let row = |title: String, amounts: &[Money; 2]| -> Result<Vec<Cell>, ReportError> {
            let mut cells = vec![Cell::Name(title)];
            cells.resize(width, Cell::Empty);
            cells.extend(numbers(view, amounts)?);
            Ok(cells)
        };
        if lost.rest.iter().any(|amount| amount.0 != 0) {
            let title = format!("All other {}", owner.to_lowercase());
            table.row(Row::Leaf, row(title, &lost.rest)?);
        }
        table.row(Row::Subtotal, row(owner.to_owned(), &total)?);
    }
    Ok(if table.is_empty() {
        String::new()
    } else {
        table.html()
    })
}
