//! The answer in one sentence, the key figures, and what needs attention.

use super::alert;
use crate::money::Money;
use crate::report::ReportError;
use crate::report::data::{Basis, Line, ReportData, Target};
use crate::report::round::per;
use crate::report::text::{MISSING, amount, count, counted, escape, label, list, ratio_digits};
use crate::report::view::{Kind, View};
use std::fmt::Write as _;

/// Sentence, figures and warnings of all currencies.
pub fn html(data: &ReportData, views: &[View]) -> Result<String, ReportError> {
    let mut out = String::from(
        "<section id=\"summary\" class=\"summary\"><h2 class=\"unseen\">Summary</h2>\n",
    );
    for view in views {
        out.push_str(&currency(view)?);
    }
    if views.is_empty() {
        out.push_str("<p class=\"answer\">No charges in this period, so there is nothing to attribute.</p>\n");
    }
    out.push_str(&attention(data, views)?);
    out.push_str("</section>\n");
    Ok(out)
}

fn currency(view: &View) -> Result<String, ReportError> {
    let code = view.code();
    let kinds = [Kind::Models, Kind::Idle, Kind::Unallocated];
    let (mut exact, mut shown) = (Vec::new(), Vec::new());
    for kind in kinds {
        let (all, seen) = view.kind(kind)?;
        exact.push(all[0]);
        shown.push(seen[0]);
    }
    let ([effective, _, billed, _], seen) = view.kind(Kind::All)?;
    let share = |place: usize| kinds.get(place).and_then(|&kind| view.share(kind));
    let gaps = view.gaps()?;
    let models = view
        .targets
        .iter()
        .filter(|sum| matches!(sum.target, Target::Model(_)))
        .count();
    let models = counted(u64::try_from(models).unwrap_or(u64::MAX), "model", "models");
    let says = |place: usize, what: &str| match share(place) {
        Some(share) => format!("{} {what}", escape(&share)),
        None => format!("{code}\u{a0}{} {what}", money(shown[place], view.digits)),
    };
    let mut pieces = vec![says(0, &format!("went to {models}"))];
    if exact[1].0 != 0 {
        pieces.push(says(1, "paid for idle capacity"));
    }
    if exact[2].0 != 0 {
        pieces.push(says(2, "has no owner yet"));
    }
    let total = amount(seen[0], view.digits)?;
    let sentence = if gaps.is_empty() {
        format!(
            "Every cent of <b>{code}\u{a0}{total}</b> is accounted for: {}.",
            list(&pieces)
        )
    } else {
        format!("<b>{code}\u{a0}{total}</b> is shown here, but it does not tie to the bill.")
    };
    let mut out = format!("<p class=\"answer\">{sentence}</p>\n");
    if !gaps.is_empty() {
        let gaps: Vec<String> = gaps.iter().map(|gap| escape(gap)).collect();
        out.push_str(&alert(&format!(
            "The amounts do not tie. {}.",
            gaps.join("; ")
        )));
    }
    let (served, full) =
        view.models
            .iter()
            .try_fold((0_u64, Money::ZERO), |(served, full), unit| {
                let full = full.checked_add(unit.full_cost)?;
                Ok::<_, ReportError>((served.saturating_add(unit.served), full))
            })?;
    let per_1000 = match per(full, 1000, served)? {
        Some(ratio) => amount(ratio, ratio_digits(&[ratio], view.digits))?,
        None => MISSING.to_owned(),
    };
    let share_text = |place: usize| share(place).unwrap_or_default();
    let figures = [
        (
            "Billed",
            amount(seen[2], view.digits)?,
            if billed == effective {
                "the same as effective".to_owned()
            } else {
                "as the bills read ask for it".to_owned()
            },
        ),
        ("Effective", total, "cost as incurred".to_owned()),
        ("To models", amount(shown[0], view.digits)?, share_text(0)),
        ("Idle", amount(shown[1], view.digits)?, share_text(1)),
        ("Unallocated", amount(shown[2], view.digits)?, share_text(2)),
        (
            "Per 1,000",
            per_1000,
            format!("full cost, {} served", count(served)),
        ),
        (
            "Difference",
            if gaps.is_empty() {
                "0".to_owned()
            } else {
                "not 0".to_owned()
            },
            if gaps.is_empty() {
                "✓ ties to the last digit".to_owned()
            } else {
                "▲ does not tie".to_owned()
            },
        ),
    ];
    let _ = write!(
        out,
        "<dl class=\"figures\" aria-label=\"Key figures in {code}\">"
    );
    for (name, value, note) in &figures {
        let unit = if *name == "Difference" || value == MISSING {
            ""
        } else {
            code
        };
        let _ = write!(
            out,
            "<div><dt>{name} <small>{unit}</small></dt><dd>{}</dd><dd class=\"note\">{}</dd></div>",
            escape(value),
            escape(note)
        );
    }
    out.push_str("</dl>\n");
    Ok(out)
}

fn money(value: Money, digits: u32) -> String {
    amount(value, digits).unwrap_or_else(|_| value.to_string())
}

/// What a reader should look at first.
fn attention(data: &ReportData, views: &[View]) -> Result<String, ReportError> {
    let mut out = String::new();
    for model in data
        .models
        .iter()
        .filter(|model| model.beats_baseline == Some(false))
    {
        let text = format!(
            "Model <b>{}</b> (version {}) does not beat the popularity baseline. <a href=\"#quality\">See its quality</a>.",
            label(&model.model_id),
            label(&model.model_version)
        );
        out.push_str(&alert(&text));
    }
    for view in views {
        let rejected = view.line(Basis::Usage, Line::Quarantined)?;
        if rejected.rows > 0 {
            let more = if rejected.unreadable {
                ", and more in amounts that cannot be read"
            } else {
                ""
            };
            let text = format!(
                "{} of {}\u{a0}{} (effective{more}) were rejected and are in none of these figures. <a href=\"#rejected\">See why</a>.",
                counted(rejected.rows, "charge", "charges"),
                view.code(),
                amount(rejected.effective, view.digits)?
            );
            out.push_str(&alert(&text));
        }
    }
    if data.without_currency > 0 {
        let text = format!(
            "{} whose currency cannot be read were rejected and are in none of these figures. <a href=\"#rejected\">See why</a>.",
            counted(data.without_currency, "charge", "charges")
        );
        out.push_str(&alert(&text));
    }
    let broken = data.conformance.iter().filter(|row| !row.holds).count();
    if broken > 0 {
        let text = format!(
            "{} not what the bills state: invoices, commitments or split rows. <a href=\"#conformance\">See which</a>.",
            counted(broken as u64, "sum is", "sums are")
        );
        out.push_str(&alert(&text));
    }
    if let Some((of, how)) = &data.lost {
        let text = format!(
            "The last run, of <b>{}</b>, published nothing: {}. What is shown here is older.",
            label(of),
            escape(how)
        );
        out.push_str(&alert(&text));
    }
    for stage in data.stages.iter().filter(|stage| stage.status != "done") {
        let text = format!(
            "Stage <b>{}</b> of the run is “{}”, not done. <a href=\"#run\">See the run</a>.",
            label(&stage.stage),
            label(&stage.status)
        );
        out.push_str(&alert(&text));
    }
    Ok(out)
}
