//! The manual for operators: every command in it is run, in the order in which it stands there.

use std::path::PathBuf;
use std::process::Command;

use crate::shop::{Shop, python, text};

/// Commands that no test can run, and why.
const NOT_HERE: &[(&str, &str)] = &[("cargo install", "it builds the program anew")];

/// Commands whose exit code is to be another one than 0, because the shop's data are of a past month.
const ALERTS: &[(&str, &[i32])] = &[("recost status pipeline.toml", &[5, 6])];

fn manual() -> String {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    std::fs::read_to_string(file).unwrap()
}

/// The blocks of the manual in a language, in order.
fn blocks(manual: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let begun = manual.split(fence.as_str()).skip(1);
    begun
        .map(|rest| rest.split("```").next().unwrap().to_string())
        .collect()
}

/// The commands of the manual: each line after a prompt, and each script as a whole.
fn commands() -> Vec<String> {
    let mut all = vec![];
    let manual = manual();
    let mut rest = manual.as_str();
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
    all
}

#[test]
fn every_command_of_the_manual_runs() {
    let shop = Shop::new();
    shop.run_ok();
    let bin = PathBuf::from(env!("CARGO_BIN_EXE_recost"));
    let path = format!(
        "{}:{}",
        bin.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    // The oldest snapshot that is still kept.
    let kept = || {
        let names = std::fs::read_dir(shop.file("warehouse/snapshots")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| !name.contains('.')).min().unwrap()
    };
    let commands = commands();
    assert!(commands.len() > 8, "{commands:?}");
    for command in commands {
        if NOT_HERE.iter().any(|(start, _)| command.starts_with(start)) {
            continue;
        }
        // The run that one goes back to, the pager, and the ids that come from a file.
        let typed = command.replace("snapshots/RUN", &format!("snapshots/{}", kept()));
        let script = format!("page() {{ echo paged; }}\nprintf 'u00001\\n' > ids.txt\n{typed}");
        let out = Command::new("bash")
            .args(["-e", "-c", &script])
            .current_dir(shop.path())
            .env("PATH", &path)
            .env_remove("RECOST_LOG")
            .output()
            .unwrap();
        let alert = ALERTS.iter().find(|(whole, _)| typed.trim() == *whole);
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
}
