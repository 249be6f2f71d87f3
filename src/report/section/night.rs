//! The data that came in, what was rejected, and the run itself.

use super::section;
use crate::money::Money;
use crate::report::charts::{Segment, Stack, bars};
use crate::report::data::ReportData;
use crate::report::marks::Mark;
use crate::report::svg::figure;
use crate::report::table::{Cell, Row, Table};
use crate::report::text::{bytes, count, counted, escape, seconds, shorten};

/// Kinds of rejected rows that the page lists; the CSV file has all.
const MOST_GROUPS: usize = 40;

/// Sources, and what was rejected.
pub fn rejected(data: &ReportData) -> String {
    let mut table = Table::new("Rows by source")
        .words("Source")
        .words("Table")
        .numbers("Files", "")
        .numbers("Read", "rows")
        .numbers("Published", "rows")
        .numbers("Skipped", "rows")
        .numbers("Duplicates", "dropped")
        .numbers("Rejected", "rows")
        .numbers("Late", "of published");
    for source in &data.sources {
        let counts = [
            source.files,
            source.rows_in,
            source.rows_out,
            source.rows_skipped,
            source.rows_duplicate,
            source.rows_quarantined,
            source.rows_late,
        ];
        let mut cells = vec![
            Cell::Name(source.source.clone()),
            Cell::Name(source.kind.clone()),
        ];
        cells.extend(counts.map(|value| Cell::Number(count(value))));
        let bad = source.rows_quarantined > 0;
        table.row(if bad { Row::Alert } else { Row::Leaf }, cells);
    }
    let mut body = if table.is_empty() {
        "<p>No source was read.</p>\n".to_owned()
    } else {
        table.html()
    };
    let mut groups: Vec<_> = data.quarantine.iter().collect();
    groups.sort_by_key(|group| {
        (
            std::cmp::Reverse(group.rows),
            &group.source,
            &group.column,
            &group.reason,
        )
    });
    let mut table = Table::new("Rejected rows by source, column and reason")
        .words("Source")
        .words("Column")
        .words("Reason")
        .numbers("Rows", "")
        .words("For example");
    for group in groups.iter().take(MOST_GROUPS) {
        table.row(
            Row::Leaf,
            vec![
                Cell::Name(group.source.clone()),
                Cell::Name(group.column.clone()),
                Cell::Html(escape(&shorten(&group.reason, 120))),
                Cell::Number(count(group.rows)),
                Cell::Name(group.example.clone()),
            ],
        );
    }
    if table.is_empty() {
        body.push_str("<p>✓ No row was rejected.</p>\n");
    } else {
        body.push_str(&table.sortable().html());
    }
    if groups.len() > MOST_GROUPS {
        let more = u64::try_from(groups.len() - MOST_GROUPS).unwrap_or(u64::MAX);
        body.push_str(&format!(
            "<p class=\"legend\">{} more in csv/quarantine.csv.</p>\n",
            counted(more, "kind", "kinds")
        ));
    }
    let intro = "A rejected row is kept with its file, row and reason, and counts nowhere else. Rejected charges have a line of their own in the reconciliation.";
    section(
        "rejected",
        "What came in, and what was rejected",
        intro,
        &body,
    )
}

/// Stages, their time and rows.
pub fn run(data: &ReportData) -> String {
    let mark = |status: &str| {
        let (class, letter) = if status == "done" {
            ("s0", "")
        } else {
            ("open", "!")
        };
        Mark {
            class: class.to_owned(),
            letter: letter.to_owned(),
        }
    };
    let mut stacks = Vec::new();
    for stage in data.stages.iter().filter(|stage| stage.stage != "run") {
        // Whole microseconds: bars take integers.
        #[allow(clippy::cast_possible_truncation)]
        let micros = stage
            .seconds
            .filter(|value| value.is_finite())
            .map_or(0, |value| (value.clamp(0.0, 1e9) * 1e6) as i128);
        let note = stage.seconds.map_or_else(
            || stage.status.clone(),
            |value| format!("{} s", seconds(value)),
        );
        let tip = format!("{}: {note}", shorten(&stage.stage, 60));
        let segments = vec![Segment {
            mark: mark(&stage.status),
            amount: Money(micros),
            tip,
        }];
        stacks.push(Stack {
            label: stage.stage.clone(),
            note,
            segments,
        });
    }
    let mut body = String::new();
    if !stacks.is_empty() {
        let about = "One bar per stage. The table below has the figures.";
        body.push_str(&figure("Seconds by stage", about, "", |svg| {
            bars(svg, &stacks)
        }));
    }
    let mut table = Table::new("Stages")
        .words("Stage")
        .words("Status")
        .numbers("Time", "s")
        .numbers("Written", "rows")
        .numbers("Peak memory", "so far")
        .words("Device")
        .words("What it says");
    for stage in &data.stages {
        let row = match (stage.stage.as_str(), stage.status.as_str()) {
            (_, status) if status != "done" => Row::Alert,
            ("run", _) => Row::Total,
            _ => Row::Leaf,
        };
        table.row(
            row,
            vec![
                Cell::Name(stage.stage.clone()),
                Cell::Name(stage.status.clone()),
                Cell::number(stage.seconds.map(seconds)),
                Cell::number(stage.rows.map(count)),
                Cell::number(stage.peak_rss_bytes.map(bytes)),
                Cell::name(stage.device.as_deref()),
                Cell::Html(
                    stage
                        .message
                        .as_deref()
                        .map(|text| escape(&shorten(text, 160)))
                        .unwrap_or_default(),
                ),
            ],
        );
    }
    body.push_str(&if table.is_empty() {
        "<p>Nothing is recorded of the run.</p>\n".to_owned()
    } else {
        table.html()
    });
    section(
        "run",
        "The run itself",
        "Its own training and scoring time is part of the usage that costs are split by.",
        &body,
    )
}
