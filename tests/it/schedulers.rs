//! The examples for schedulers: each takes every exit code for what it is.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use recost::error::{Error, Kind};

use crate::shop::{python, text};

/// Ends of a process that are none of recost's own: a panic, and what a signal leaves.
const PANIC: u8 = 101;
const KILLED: [u8; 2] = [137, 143];

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("pipelines/examples/schedulers")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(examples().join(name)).unwrap()
}

/// The codes with which running again is worth it, and those with which it is not.
fn codes() -> (BTreeSet<u8>, BTreeSet<u8>) {
    let (mut passing, mut fatal) = (BTreeSet::new(), BTreeSet::new());
    for kind in Kind::ALL {
        let of = match Error::new(kind, "").retryable() {
            true => &mut passing,
            false => &mut fatal,
        };
        of.insert(kind.exit_code());
    }
    (passing, fatal)
}

/// The numbers between `before` and the end of the line.
fn numbers(file: &str, before: &str) -> BTreeSet<u8> {
    let line = file.lines().find_map(|l| l.trim().strip_prefix(before));
    let line = line.unwrap_or_else(|| panic!("no line begins with {before}"));
    line.split(|c: char| !c.is_ascii_digit())
        .filter(|n| !n.is_empty())
        .map(|n| n.parse().unwrap())
        .collect()
}

#[test]
fn systemd_and_kubernetes_try_again_with_the_codes_that_may_pass() {
    let (_, mut fatal) = codes();
    fatal.insert(PANIC);
    let systemd = numbers(&read("recost.service"), "RestartPreventExitStatus=");
    assert_eq!(systemd, fatal);
    assert_eq!(numbers(&read("cronjob.yaml"), "values: "), fatal);
}

#[test]
fn systemd_takes_the_units() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["recost.service", "recost.timer"] {
        // The program need not be installed where the test runs.
        let unit = read(name).replace("/usr/local/bin/recost", env!("CARGO_BIN_EXE_recost"));
        std::fs::write(dir.path().join(name), unit).unwrap();
    }
    let verify = Command::new("systemd-analyze")
        .args(["verify", "./recost.service", "./recost.timer"])
        .current_dir(dir.path())
        .output();
    match verify {
        // Its own troubles with a machine that systemd did not start are no concern of the units.
        Ok(out) => {
            let said = text(&out.stderr);
            let of_units: Vec<_> = said.lines().filter(|l| l.contains("recost.")).collect();
            assert!(of_units.is_empty(), "{of_units:?}");
        }
        Err(e) => eprintln!("SKIPPED: systemd-analyze cannot be started: {e}"),
    }
}

#[test]
fn airflow_parses_the_dag_and_tries_again_with_the_codes_that_may_pass() {
    let (mut passing, fatal) = codes();
    passing.extend(KILLED);
    assert_eq!(numbers(&read("recost_nightly.py"), "PASSING = "), passing);
    let dir = tempfile::tempdir().unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/airflow/exit_codes.py");
    let mut expected = vec![(0, "done")];
    expected.extend(passing.iter().map(|code| (*code, "retry")));
    expected.extend(fatal.iter().chain([&PANIC]).map(|code| (*code, "fail")));
    let mut args = vec![
        script.display().to_string(),
        examples().display().to_string(),
        dir.path().display().to_string(),
    ];
    args.extend(expected.iter().map(|(code, _)| code.to_string()));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(out) = python(dir.path(), &args) else {
        return;
    };
    assert!(out.status.success(), "{}", text(&out.stderr));
    let said: Vec<String> = text(&out.stdout).lines().map(str::to_string).collect();
    let mut expected: Vec<String> = expected.iter().map(|(c, w)| format!("{c} {w}")).collect();
    let task = "default/recost_nightly.run";
    expected.push(format!("parent {task}/a-run {task}/the-whole"));
    assert_eq!(said, expected);
}

#[test]
fn the_manual_lists_every_exit_code() {
    let manual = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let manual = std::fs::read_to_string(manual).unwrap();
    let listed: BTreeSet<u8> = manual
        .lines()
        .filter_map(|l| l.strip_prefix("| ")?.split(' ').next()?.parse().ok())
        .collect();
    let (passing, fatal) = codes();
    let all: BTreeSet<u8> = passing.iter().chain(&fatal).chain([&0]).copied().collect();
    assert_eq!(listed, all);
    let passing: Vec<String> = passing.iter().map(u8::to_string).collect();
    let sentence = format!(
        "Codes {} are worth a retry",
        passing.join(", ").replacen(", 130", " and 130", 1)
    );
    assert!(manual.contains(&sentence), "not there: {sentence}");
}
