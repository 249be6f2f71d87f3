//! The manual for operators and the README: every command in them is run, in the order in which it stands there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::shop::{Shop, python, text};

/// Commands that no test can run, and why.
const NOT_HERE: &[(&str, &str)] = &[
    ("cargo install", "it builds the program anew"),
    ("cargo run", "it builds the program anew"),
    ("cargo test", "it is this run"),
];

/// Commands whose exit code is to be another one than 0, because the shop's data are of a past month.
const ALERTS: &[(&str, &[i32])] = &[("recost status pipeline.toml", &[5, 6])];

fn read(file: &str) -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
    std::fs::read_to_string(file).unwrap()
}

fn manual() -> String {
    read("docs/operations.md")
}

/// The blocks of the manual in a language, in order.
fn blocks(manual: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let begun = manual.split(fence.as_str()).skip(1);
    begun
        .map(|rest| rest.split("```").next().unwrap().to_string())
        .collect()
}

/// The commands of a text: each line after a prompt, and each script as a whole. Without those that no test can run.
fn commands(text: &str) -> Vec<String> {
    let mut all = vec![];
    // Those in a list are indented.
    let text = text.replace("\n   ", "\n");
    let mut rest = text.as_str();
    while let Some(at) = rest.find("\n```") {
        let (head, body) = rest[at + 4..].split_once('\n').unwrap();
        let (block, after) = body.split_once("```").unwrap();
        match head {
            "console" => {
                let typed = block.lines().filter_map(|line| line.strip_prefix("$ "));
                all.extend(typed.map(str::to_string));
            }
            "bash" => all.push(block.to_string()),
            _ => {}
        }
        rest = after;
    }
    all.retain(|command| {
        NOT_HERE
            .iter()
            .all(|(start, _)| !command.starts_with(start))
    });
    all
}

/// Types the command in a folder: with a pager, and a file `ids.txt` that is also what it is told on standard input.
fn typed(dir: &Path, command: &str) -> Output {
    let bin = PathBuf::from(env!("CARGO_BIN_EXE_recost"));
    let path = format!(
        "{}:{}",
        bin.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let ids = dir.join("ids.txt");
    std::fs::write(&ids, "u00001\n").unwrap();
    let script = format!("page() {{ echo paged; }}\n{command}");
    Command::new("bash")
        .args(["-e", "-c", &script])
        .current_dir(dir)
        .stdin(File::open(ids).unwrap())
        .env("PATH", path)
        .env_remove("RECOST_LOG")
        .output()
        .unwrap()
}

#[test]
fn every_command_of_the_readme_runs() {
    let dir = tempfile::tempdir().unwrap();
    let commands = commands(&read("README.md"));
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        if command.starts_with("recost tune") {
            // Without a budget it would go on for a minute.
            let file = dir.path().join("shop/pipeline.toml");
            let text = std::fs::read_to_string(&file).unwrap();
            let params = "params = { dim = 64, ";
            assert!(text.contains(params));
            let brief = format!("search = {{ budget_passes = 30 }}\n{params}");
            std::fs::write(file, text.replace(params, &brief)).unwrap();
        }
        let out = typed(dir.path(), &command);
        let said = [text(&out.stdout), text(&out.stderr)].concat();
        assert!(out.status.success(), "{command}\n{}\n{said}", out.status);
    }
}

#[test]
fn every_command_of_the_manual_runs() {
    let shop = Shop::new();
    shop.run_ok();
    std::fs::create_dir(shop.file("store")).unwrap();
    let store = format!("file://{}", shop.file("store").display());
    // The oldest snapshot that is still kept.
    let kept = || {
        let names = std::fs::read_dir(shop.file("warehouse/snapshots")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.contains('.')).min().unwrap()
    };
    let commands = commands(&manual());
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        // The run that one goes back to, and a folder in the place of a bucket.
        let command = command
            .replace("snapshots/RUN", &format!("snapshots/{}", kept()))
            .replace("s3://shop-data/recost", &store);
        let out = typed(shop.path(), &command);
        let alert = ALERTS.iter().find(|(whole, _)| command.trim() == *whole);
        let expected = alert.map_or(&[0][..], |(_, codes)| codes);
        let code = out.status.code().unwrap();
        assert!(
            expected.contains(&code),
            "{command}\nexit code {code}\n{}{}",
            text(&out.stdout),
            text(&out.stderr)
        );
    }
}

#[test]
fn what_the_manual_tells_readers_of_a_folder_to_type_gives_rows() {
    let shop = Shop::new();
    shop.run_ok();
    let manual = manual();
    let sql = blocks(&manual, "sql");
    let sql = sql.iter().find(|sql| !sql.contains("s3://")).unwrap();
    let script = format!(
        "import duckdb\nfor s in '''{sql}'''.split(';'):\n    if s.strip(): rows = duckdb.sql(s)\nprint(len(rows.fetchall()))"
    );
    let Some(out) = python(shop.path(), &["-c", &script]) else {
        return;
    };
    let said = text(&out.stdout);
    let rows: usize = said
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("{}", text(&out.stderr)));
    let ours = shop.query("select count(*) from recommendations");
    assert_eq!(ours, [rows.to_string()]);

    // Of what Python reads, all but Spark, which has no Java here.
    let lines = blocks(&manual, "python");
    let lines = lines.iter().find(|lines| !lines.contains("s3://")).unwrap();
    let mut script = "import os, polars as pl, pandas as pd\n".to_string();
    for line in lines.lines().filter(|line| !line.starts_with("spark.")) {
        let rows = match line.split_once('(').map(|(call, _)| call) {
            Some("pl.scan_parquet") => format!("print({line}.collect().height)"),
            Some("pd.read_parquet") => format!("print(len({line}))"),
            _ => line.to_string(),
        };
        script.push_str(&format!("{rows}\n"));
    }
    let Some(out) = python(shop.path(), &["-c", &script]) else {
        return;
    };
    let said = text(&out.stdout);
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [rows.to_string(), rows.to_string()],
        "{}",
        text(&out.stderr)
    );
}
