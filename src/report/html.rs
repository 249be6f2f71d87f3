//! The page: head, contents, sections. It refers to nothing outside itself.

use super::ReportError;
use super::data::ReportData;
use super::marks::Marks;
use super::section::{
    changes, compare, conformance, converted, costs, days, frontier, glossary, headline, making,
    night, proof, quality, units,
};
use super::text::{escape, label};
use super::view::View;
use std::fmt::Write as _;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("sort.js");
/// Fills for what is idle and what nobody owns, which colour alone must not tell apart.
const PATTERNS: &str = include_str!("patterns.svg");

/// The whole page as HTML; the same data give the same text.
pub fn page(data: &ReportData) -> Result<String, ReportError> {
    let views: Vec<View> = data
        .currencies
        .iter()
        .map(View::new)
        .collect::<Result<_, _>>()?;
    let marks = Marks::new(data, &views);
    let mut contents = vec![("summary".to_owned(), "Summary".to_owned())];
    let mut body = headline::html(data, &views)?;
    for view in &views {
        let several = views.len() > 1;
        let mut enter = |id: &str, title: &str| {
            let id = format!("{id}-{}", view.code().to_lowercase());
            let title = if several {
                format!("{title}, {}", view.code())
            } else {
                title.to_owned()
            };
            contents.push((id.clone(), title.clone()));
            (id, title)
        };
        let (id, title) = enter("costs", "Where it went");
        body.push_str(&costs::html(data, view, &marks, &id, &title)?);
        let (id, title) = enter("changes", "What changed");
        body.push_str(&changes::html(data, view, &marks, &id, &title)?);
        let (id, title) = enter("making", "What versions cost");
        body.push_str(&making::html(data, view, &marks, &id, &title)?);
        let (id, title) = enter("per-1000", "Cost per 1,000");
        body.push_str(&units::per_1000(view, &marks, &id, &title)?);
        let (id, title) = enter("days", "Day by day");
        body.push_str(&days::html(view, &marks, &id, &title)?);
        let (id, title) = enter("surfaces", "Per surface");
        body.push_str(&units::surfaces(view, &marks, &id, &title)?);
    }
    for all in &data.converted {
        let id = format!("converted-{}", all.currency.code().to_lowercase());
        let title = format!("All in {}", all.currency.code());
        body.push_str(&converted::html(all, &marks, &id, &title)?);
        contents.push((id, title));
    }
    let (id, title) = ("compare", "Side by side");
    body.push_str(&compare::html(data, id, title)?);
    contents.push((id.to_owned(), title.to_owned()));
    contents.push(("quality".to_owned(), "Quality".to_owned()));
    body.push_str(&quality::html(data, &views, &marks)?);
    if let Some(section) = frontier::html(data)? {
        contents.push(("frontier".to_owned(), "Quality for money".to_owned()));
        body.push_str(&section);
    }
    for view in &views {
        let id = format!("proof-{}", view.code().to_lowercase());
        let title = if views.len() > 1 {
            format!("Reconciliation, {}", view.code())
        } else {
            "Reconciliation".to_owned()
        };
        body.push_str(&proof::html(view, &id, &title)?);
        contents.push((id, title));
    }
    let (id, title) = ("conformance", "Conformance of the bills");
    body.push_str(&conformance::html(data, id, title));
    for (id, title) in [
        (id, title),
        ("rejected", "Rejected data"),
        ("run", "The run"),
        ("words", "Words"),
    ] {
        contents.push((id.to_owned(), title.to_owned()));
    }
    body.push_str(&night::rejected(data));
    body.push_str(&night::run(data));
    body.push_str(&glossary::html());
    Ok(assemble(data, &contents, &body))
}

fn assemble(data: &ReportData, contents: &[(String, String)], body: &str) -> String {
    let period = if data.first_day == data.last_day {
        data.first_day.to_string()
    } else {
        format!("{} to {}", data.first_day, data.last_day)
    };
    let mut facts = vec![
        ("Run", label(&data.run_id)),
        ("Data of", data.date.to_string()),
        ("Made by", label(&data.version)),
    ];
    facts.extend(data.generated_at.as_ref().map(|at| ("Made at", label(at))));
    frame(&Frame {
        kicker: "What recommendations cost",
        name: &label(&data.name),
        period: &period,
        facts: &facts,
        contents,
        body,
        foot: "All times are UTC. Amounts in tables are rounded for reading; the CSV files beside this page keep every digit.",
        script: SCRIPT,
    })
}

/// What a page is made of; all of it is HTML.
pub(super) struct Frame<'a> {
    pub kicker: &'a str,
    pub name: &'a str,
    pub period: &'a str,
    pub facts: &'a [(&'a str, String)],
    /// Anchor and title, not escaped, of each section.
    pub contents: &'a [(String, String)],
    pub body: &'a str,
    pub foot: &'a str,
    pub script: &'a str,
}

/// A whole page.
pub(super) fn frame(page: &Frame<'_>) -> String {
    let Frame {
        kicker,
        name,
        period,
        body,
        foot,
        ..
    } = page;
    let mut out = String::with_capacity(body.len() + 32_768);
    let mut about = (*kicker).to_owned();
    about[..1].make_ascii_lowercase();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\
         <meta name=\"color-scheme\" content=\"light dark\"/>\
         <title>{name}: {about}, {period}</title>\n<style>\n{STYLE}</style></head>\n<body>\n{PATTERNS}"
    );
    let _ = write!(
        out,
        "<header><p class=\"kicker\">{kicker}</p><h1>{name}</h1><p class=\"period\">{period}</p>\
         <dl class=\"facts\">"
    );
    for (what, is) in page.facts {
        let _ = write!(out, "<div><dt>{what}</dt><dd>{is}</dd></div>");
    }
    out.push_str("</dl></header>\n<nav aria-label=\"Contents\"><ol>");
    for (id, title) in page.contents {
        let _ = write!(out, "<li><a href=\"#{id}\">{}</a></li>", escape(title));
    }
    let _ = write!(out, "</ol></nav>\n<main>\n{body}</main>\n");
    let _ = writeln!(out, "<footer><p>{foot}</p></footer>");
    if !page.script.is_empty() {
        let _ = writeln!(out, "<script>\n{}</script>", page.script);
    }
    out.push_str("</body></html>\n");
    out
}
