//! Texts of the data, whoever wrote them, are texts in the reports and in what is exported: no element or attribute of a page, no
//! formula of a table.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};

use crate::bad_input::{change, done, published, with_column, with_text};
use crate::shop::{RUN, Shop, text};

/// What a text may try, again and again over the rows.
const TEXTS: &[&str] = &[
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</td></table></style><svg/onload=alert(1)>",
    "&lt;b&gt; & &#60;i&#62; &amp",
    "<!-- --><![CDATA[x]]>",
    "javascript:alert(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "line\u{2028}and\u{2029}another\u{85}one\nmore\r\n\ttab",
    "\u{202e}\u{2066}turned\u{202c}\u{61c}\u{200f}",
    "=cmd|'/c calc'!A1",
    "+1+1",
    "-1-1",
    "@SUM(A1)",
    "\t=1+1",
    "\r=1+1",
    "日本語 ÄÖ \u{1f600}",
];

fn texts(rows: usize) -> ArrayRef {
    let long = "<b>".repeat(20_000);
    let text = |row: usize| match row % (TEXTS.len() + 1) {
        n if n < TEXTS.len() => TEXTS[n].to_string(),
        _ => long.clone(),
    };
    Arc::new(
        (0..rows)
            .map(|row| Some(text(row)))
            .collect::<StringArray>(),
    )
}

/// The batch with such texts in those of the columns that it has.
fn planted(mut batch: RecordBatch, columns: &[&str]) -> RecordBatch {
    for column in columns {
        assert!(batch.column_by_name(column).is_some(), "{column}");
        batch = with_column(&batch, column, texts(batch.num_rows()));
    }
    batch
}

/// Elements and attributes of a page, each with where it is.
fn markup(page: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut elements, mut attributes) = (BTreeSet::new(), BTreeSet::new());
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if let Some(end) = rest.strip_prefix('/') {
            rest = &end[end.find('>').unwrap()..];
            continue;
        }
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '>' | '/'))
            .unwrap();
        let name = rest[..end].to_lowercase();
        rest = &rest[end..];
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
            if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break;
            }
            let end = rest
                .find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/'))
                .unwrap();
            let attribute = rest[..end].to_lowercase();
            rest = &rest[end..];
            if let Some(value) = rest.strip_prefix('=') {
                let value = value
                    .strip_prefix('"')
                    .unwrap_or_else(|| panic!("{attribute} without quotes"));
                let end = value.find('"').unwrap();
                if attribute == "href" {
                    let ours = value.starts_with('#') || value[..end] == *"report.html";
                    assert!(ours, "{}", &value[..end]);
                }
                rest = &value[end + 1..];
            }
            attributes.insert(format!("{name} {attribute}"));
        }
        if name == "script" || name == "style" {
            rest = &rest[rest.find(&format!("</{name}>")).unwrap()..];
        }
        elements.insert(name);
    }
    (elements, attributes)
}

/// The cells of a CSV file that a spreadsheet takes for formulas, and how many had to be made texts.
fn formulas(csv: &[u8]) -> (Vec<String>, usize) {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(csv);
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let cells = || rows.iter().flatten();
    let risky = |cell: &&str| {
        cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err()
    };
    let made = cells().filter(|cell| cell.starts_with('\'')).count();
    (cells().filter(risky).map(str::to_string).collect(), made)
}

/// The page of a run, whatever its report's.
fn page_of_run(shop: &Shop) -> String {
    fs::read_to_string(shop.file("report/run.html")).unwrap()
}

/// The pages of a run that warns of a column called `name`, and of one that fails for a file called so.
fn pages_of_runs(name: &str) -> [String; 2] {
    let shop = published();
    let day = "exports/events/ds=2026-10-31";
    change(&shop.file(&format!("{day}/part-00000.parquet")), |batch| {
        let query = batch.column_by_name("query").unwrap().clone();
        let columns = batch
            .schema_ref()
            .fields()
            .iter()
            .map(|f| f.name().as_str())
            .zip(batch.columns().to_vec());
        RecordBatch::try_from_iter_with_nullable(
            columns.chain([(name, query)]).map(|(n, c)| (n, c, true)),
        )
        .unwrap()
    });
    let run = || shop.recost(&[&RUN[..], &["--select", "ingest"]].concat());
    let out = run();
    assert!(out.status.success(), "{}", text(&out.stderr));
    let warned = page_of_run(&shop);
    fs::write(shop.file(&format!("{day}/{name}.parquet")), "no Parquet").unwrap();
    assert_eq!(run().status.code(), Some(8));
    [warned, page_of_run(&shop)]
}

#[test]
fn texts_of_warnings_and_errors_stay_texts_on_the_page_of_a_run() {
    let plain = pages_of_runs("plain");
    for name in [
        "\"><img src=x onerror=alert(1)>",
        "<script>alert(1)<&script>",
        "' onmouseover='alert(1)",
    ] {
        for (plain, hostile) in plain.iter().zip(pages_of_runs(name)) {
            assert_eq!(markup(&hostile), markup(plain), "{name}");
            assert!(!hostile.contains("<script"), "{name}");
            assert!(plain.contains("plain"));
            assert!(
                hostile.contains("alert(1)"),
                "{name} is not told: the test looks at nothing"
            );
        }
    }
}

#[test]
fn texts_of_the_data_stay_texts_in_page_and_tables() {
    let shop = Shop::new();
    for path in [
        "exports/billing/northcloud/billing_period=2026-10/part-00000.parquet",
        "exports/billing/eastgrid/billing_period=2026-10/part-00000.parquet",
    ] {
        let columns = [
            "ServiceName",
            "ResourceId",
            "SubAccountId",
            "BillingAccountId",
            "ChargeDescription",
            "RegionId",
        ];
        change(&shop.file(path), |batch| {
            let there: Vec<&str> = columns
                .into_iter()
                .filter(|c| batch.column_by_name(c).is_some())
                .collect();
            assert!(there.len() > 3, "{there:?}");
            planted(batch, &there)
        });
    }
    change(
        &shop.file("exports/items/ds=2026-10-31/part-00000.parquet"),
        |batch| planted(batch, &["title", "category"]),
    );
    change(
        &shop.file("exports/events/ds=2026-10-31/part-00000.parquet"),
        |batch| {
            let batch = planted(batch, &["query", "surface"]);
            let batch = with_text(&batch, "currency", 1, TEXTS[0]);
            with_text(&batch, "currency", 2, TEXTS[1])
        },
    );
    shop.edit("name = \"Example shop\"", &format!("name = '{}'", TEXTS[0]));
    shop.edit(
        "name = \"customers\"",
        "name = '\"><img src=x onerror=alert(1)>'",
    );
    shop.edit("id = \"home-als\"", "id = '<svg onload=alert(1)>'");
    shop.edit("dim = 64, iterations = 10", "dim = 8, iterations = 1");
    shop.run_ok();

    let page = |shop: &Shop| fs::read_to_string(shop.file("report/report.html")).unwrap();
    let (plain, hostile) = (page(done()), page(&shop));
    let (ours, found) = (markup(&plain), markup(&hostile));
    let more: Vec<_> = found.0.difference(&ours.0).collect();
    assert_eq!(more, Vec::<&String>::new(), "elements");
    let more: Vec<_> = found.1.difference(&ours.1).collect();
    assert_eq!(more, Vec::<&String>::new(), "attributes");
    assert_eq!(hostile.matches("<script").count(), 1);
    // They are there, so the test looks at something.
    for text in [
        "&lt;script&gt;alert(1)",
        "&lt;img src=x onerror=alert(1)&gt;",
        "&lt;svg onload=alert(1)&gt;",
    ] {
        assert!(hostile.contains(text), "{text}");
    }
    for unseen in ['\u{202e}', '\u{2066}', '\u{61c}', '\u{2028}', '\u{2029}'] {
        assert!(!hostile.contains(unseen), "{unseen:?}");
    }
    assert!(
        !hostile.contains(&"&lt;b&gt;".repeat(100)),
        "long texts are shortened"
    );

    let run = page_of_run(&shop);
    assert!(run.contains("&lt;svg onload=alert(1)&gt;") && !run.contains("<svg onload"));

    let mut cells = 0;
    for entry in fs::read_dir(shop.file("report/csv")).unwrap() {
        let path = entry.unwrap().path();
        let (risky, made) = formulas(&fs::read(&path).unwrap());
        assert_eq!(risky, Vec::<String>::new(), "{}", path.display());
        cells += made;
    }
    assert!(cells > 0, "none of them came into a table");
    exported_cells_are_no_formulas(&shop);
}

/// The CSV of `recost sql` and `recost export`, and with `--raw`, which leaves texts as they are.
fn exported_cells_are_no_formulas(shop: &Shop) {
    let ok = |args: &[&str]| {
        let out = shop.recost(args);
        assert!(out.status.success(), "{}", text(&out.stderr));
        out.stdout
    };
    let sql = "select distinct service_name as \"=head\", cast(-1.5 as double) as n, -2 as m from charges";
    let sql = ["sql", "pipeline.toml", sql, "--format", "csv"];
    let export = ["export", "pipeline.toml", "--to", "out", "--format", "csv"];
    let focus = || fs::read(shop.file("out/billing_period=2026-10/focus.csv")).unwrap();
    for (raw, is_raw) in [(&[][..], false), (&["--raw"], true)] {
        let rows = ok(&[&sql[..], raw].concat());
        ok(&[&export[..], raw].concat());
        for csv in [&rows, &focus()] {
            let (risky, made) = formulas(csv);
            assert_eq!(risky.is_empty(), !is_raw, "{risky:?}");
            assert!(is_raw || made > 0, "none of them came into a table");
        }
        assert!(
            text(&rows).contains(",-1.5,-2\n"),
            "numbers are as they were"
        );
        assert_eq!(text(&rows).starts_with("=head,"), is_raw);
    }
}
