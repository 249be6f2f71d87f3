//! What people see at the command line, word for word: help, plans, summaries, errors.
//!
//! What differs from run to run (seconds, memory, folders, hashes) is replaced before the comparison. After a wanted
//! change, `INSTA_UPDATE=always cargo test --release --test it cli` writes the snapshots anew; look at their diff.

use std::process::Output;

use insta::assert_snapshot;
use tempfile::TempDir;

use crate::shop::{JSON, NIGHT, RUN, Shop, recost, text};

const COMMANDS: [&str; 19] = [
    "demo",
    "init",
    "generate",
    "plan",
    "run",
    "backfill",
    "check",
    "close",
    "explain",
    "compare",
    "report",
    "export",
    "sync",
    "forget",
    "pseudonym",
    "sql",
    "tables",
    "devices",
    "status",
];

/// Exit code and both outputs, as one text.
fn seen(out: &Output) -> String {
    let mut seen = format!("exit code {}\n", out.status.code().unwrap());
    for (name, bytes) in [("stdout", &out.stdout), ("stderr", &out.stderr)] {
        if !bytes.is_empty() {
            seen.push_str(&format!("--- {name}\n{}", text(bytes)));
        }
    }
    seen
}

/// Holds `$out` against its snapshot, with what differs from run to run replaced.
macro_rules! snapshot {
    ($shop:expr, $out:expr) => {{
        let mut settings = insta::Settings::clone_current();
        let dir = $shop.canonicalize().unwrap().display().to_string();
        settings.add_filter(&format!("(/private)?{}", regex_of(&dir)), "[DIR]");
        settings.add_filter(&regex_of(&$shop.display().to_string()), "[DIR]");
        settings.add_filter(r" +\d+\.\d\d s +\d+ %", " [SECONDS] s [BUSY] %");
        settings.add_filter(r"kept \d+ threads", "kept [N] threads");
        settings.add_filter(r" at [-0-9]+ [:0-9]+ UTC", " at [TIME]");
        settings.add_filter(r" +\d+\.\d\d s ", " [SECONDS] s ");
        settings.add_filter(r"\d+\.\d+ s\b", "[SECONDS] s");
        settings.add_filter(r"peak memory \d+ [MG]iB", "peak memory [MEMORY]");
        settings.add_filter(r"20\d{6}T\d+Z?-[0-9a-z]+", "[RUN]");
        settings.add_filter(r"process \d+ since [-0-9]+ [:0-9]+ UTC", "[HOLDER]");
        settings.bind(|| assert_snapshot!(seen(&$out)));
    }};
}

fn regex_of(path: &str) -> String {
    path.replace('.', r"\.")
}

#[test]
fn help_of_the_program() {
    let dir = TempDir::new().unwrap();
    snapshot!(dir.path(), recost(dir.path(), &["--help"]));
}

#[test]
fn help_of_every_command() {
    let dir = TempDir::new().unwrap();
    let helps: Vec<String> = COMMANDS
        .iter()
        .map(|c| {
            format!(
                "$ recost {c} --help\n{}",
                text(&recost(dir.path(), &[c, "--help"]).stdout)
            )
        })
        .collect();
    assert_snapshot!(helps.join("\n"));
}

#[test]
fn no_command_prints_help_and_is_a_usage_error() {
    let dir = TempDir::new().unwrap();
    let out = recost(dir.path(), &[]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).contains("Usage: recost"));
}

#[test]
fn init_says_what_it_wrote_and_what_comes_next() {
    let dir = TempDir::new().unwrap();
    snapshot!(
        dir.path(),
        recost(dir.path(), &["init", "shop", "--no-exports"])
    );
    let again = recost(dir.path(), &["init", "shop", "--no-exports"]);
    snapshot!(dir.path(), again);
}

#[test]
fn a_plan_before_and_after_the_night() {
    let shop = Shop::new();
    shop.edit("device = \"auto\"", "device = \"cpu\"");
    let plan = || shop.recost(&["plan", "pipeline.toml", "--date", NIGHT]);
    snapshot!(shop.path(), plan());
    assert!(!shop.file("warehouse").exists(), "a plan writes nothing");
    shop.run_ok();
    snapshot!(shop.path(), plan());
}

#[test]
fn a_plan_as_json_is_json() {
    let shop = Shop::new();
    let out = shop.recost(&[
        "plan",
        "pipeline.toml",
        "--date",
        NIGHT,
        "--json",
        "--select",
        "attribute+",
    ]);
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let stages: Vec<&str> = json["stages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["stage"].as_str().unwrap())
        .collect();
    assert_eq!(stages, ["attribute", "check"]);
    assert_eq!(json["date"], NIGHT);
}

#[test]
fn the_summary_of_a_night_its_checks_and_its_status() {
    let shop = Shop::new();
    snapshot!(shop.path(), shop.run());
    snapshot!(
        shop.path(),
        shop.recost(&["check", "pipeline.toml", "--date", NIGHT])
    );
    snapshot!(
        shop.path(),
        shop.recost(&["status", "pipeline.toml", "--date", NIGHT])
    );
    snapshot!(
        shop.path(),
        shop.recost(&["report", "pipeline.toml", "--date", NIGHT])
    );
}

#[test]
fn progress_as_json_is_one_object_a_line() {
    let shop = Shop::new();
    let out = shop.recost(&[&RUN[..], &JSON].concat());
    assert!(out.status.success());
    let events: Vec<serde_json::Value> = text(&out.stderr)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let stages: Vec<_> = events.iter().filter(|e| e["event"] == "stage").collect();
    assert_eq!(stages.len(), 7);
    assert_eq!(stages[0]["stage"], "ingest");
    assert!(
        stages
            .iter()
            .all(|s| s["seconds"].is_f64() && s["rows"].is_u64())
    );
    let missing = shop.recost(&[
        "run",
        "pipeline.toml",
        "--date",
        "2030-01-01",
        "--log-format",
        "json",
    ]);
    let last: serde_json::Value =
        serde_json::from_str(text(&missing.stderr).lines().last().unwrap()).unwrap();
    assert_eq!(last["exit_code"], 6);
    assert_eq!(last["retryable"], true);
}

#[test]
fn queries_in_every_format() {
    let shop = Shop::new();
    shop.run_ok();
    let sql = "select line, effective from reconciliation where basis = 'usage' and issuer = 'finance' order by line";
    for format in ["table", "csv", "json"] {
        snapshot!(
            shop.path(),
            shop.recost(&["sql", "pipeline.toml", sql, "--format", format])
        );
    }
    let out = shop.recost(&["sql", "pipeline.toml", sql, "--format", "parquet"]);
    assert_eq!(&out.stdout[..4], b"PAR1");
    for wrong in [
        "select * from chargs",
        "select effectiv from reconciliation",
        "drop table charges",
        "selec 1",
    ] {
        let out = shop.recost(&["sql", "pipeline.toml", wrong]);
        snapshot!(shop.path(), out);
    }
}

#[test]
fn tables_and_one_table() {
    let dir = TempDir::new().unwrap();
    snapshot!(dir.path(), recost(dir.path(), &["tables"]));
    snapshot!(dir.path(), recost(dir.path(), &["tables", "allocations"]));
    snapshot!(dir.path(), recost(dir.path(), &["tables", "allocation"]));
}

#[test]
fn errors_say_where_and_what_to_do() {
    let shop = Shop::new();
    let run = |args: &[&str]| shop.recost(args);
    snapshot!(shop.path(), run(&["run", "nowhere.toml"]));
    snapshot!(
        shop.path(),
        run(&["run", "pipeline.toml", "--date", "31.10.2026"])
    );
    snapshot!(
        shop.path(),
        run(&["run", "pipeline.toml", "--date", NIGHT, "--select", "trian"])
    );
    snapshot!(
        shop.path(),
        run(&[
            "run",
            "pipeline.toml",
            "--date",
            NIGHT,
            "--select",
            "allocation"
        ])
    );
    snapshot!(
        shop.path(),
        run(&["run", "pipeline.toml", "--date", "2030-01-01"])
    );
    snapshot!(
        shop.path(),
        run(&["status", "pipeline.toml", "--date", NIGHT])
    );
    snapshot!(shop.path(), run(&["sql", "pipeline.toml", "select 1"]));
    shop.edit("history_days", "history_day");
    snapshot!(
        shop.path(),
        run(&["plan", "pipeline.toml", "--date", NIGHT])
    );
}

#[test]
fn a_gpu_that_is_required_and_missing_is_exit_code_10() {
    let shop = Shop::new();
    let devices = text(&shop.recost(&["devices"]).stdout);
    // `gpu` means a real one: a software Vulkan counts only when it is named.
    let real = devices
        .lines()
        .any(|l| l.contains("discrete") || l.contains("integrated"));
    let out = shop.recost(&["run", "pipeline.toml", "--date", NIGHT, "--device", "gpu"]);
    if real {
        assert!(out.status.success(), "{}", text(&out.stderr));
    } else {
        assert_eq!(out.status.code(), Some(10), "{}", text(&out.stderr));
        assert!(!shop.file("warehouse/current").exists());
    }
    let unknown = shop.recost(&[
        "run",
        "pipeline.toml",
        "--date",
        NIGHT,
        "--device",
        "abacus",
    ]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(
        text(&unknown.stderr).contains("abacus"),
        "{}",
        text(&unknown.stderr)
    );
}

#[test]
fn the_design_says_why_each_dependency_is_there() {
    let read = |file: &str| {
        std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let design = read("docs/design.md");
    let table = design
        .split("## Dependencies")
        .nth(1)
        .unwrap()
        .split("\n## ")
        .next()
        .unwrap();
    let named: Vec<&str> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|crates| crates.split(", "))
        .collect();
    for name in manifest["dependencies"].as_table().unwrap().keys() {
        assert!(named.contains(&name.as_str()), "{name}");
    }
}

#[test]
fn the_documentation_of_the_tables_is_the_programs_own() {
    let dir = TempDir::new().unwrap();
    let printed = text(&recost(dir.path(), &["tables", "--markdown"]).stdout);
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tables.md");
    let committed = std::fs::read_to_string(file).unwrap();
    let differs = printed.lines().zip(committed.lines()).find(|(a, b)| a != b);
    assert!(
        printed.trim() == committed.trim(),
        "run: recost tables --markdown > docs/tables.md\n{differs:?}"
    );
}
