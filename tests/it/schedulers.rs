//! The examples for schedulers: each takes every exit code for what it is.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use clap::Parser;
use recost::cli::Cli;
use recost::error::{Error, Kind};
use serde_json::Value;

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

/// Whether the program takes these arguments.
fn accepted<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
    let all = std::iter::once("recost").chain(arguments);
    let parsed = Cli::try_parse_from(all);
    parsed.map(drop).map_err(|e| e.to_string())
}

/// Whether these are the five fields of a time as cron reads them.
fn is_time(fields: &[&str]) -> bool {
    let plain = |field: &&str| {
        field
            .chars()
            .all(|c| c.is_ascii_digit() || "*,-/".contains(c))
    };
    fields.len() == 5 && fields.iter().all(plain)
}

/// The commands of the crontab, as cron hands them to the shell.
fn of_crontab(file: &str) -> Vec<String> {
    let lines = file
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    let is_set = |line: &&str| {
        line.split_once('=')
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase()))
    };
    let entries = lines.filter(|line| !is_set(line)).map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert!(is_time(&fields[..5]), "{line}");
        // cron makes a new line of it.
        assert!(!line.contains('%'), "{line}");
        fields[5..].join(" ")
    });
    entries.collect()
}

#[test]
fn cron_runs_what_the_program_takes_and_mails_what_status_says_alone() {
    let dir = tempfile::tempdir().unwrap();
    let place = |below: &str| dir.path().join(below).display().to_string();
    fs::create_dir(place("bin")).unwrap();
    // In the program's place: notes what it is given, says something on both streams, and fails.
    let program = format!(
        "#!/bin/sh\necho \"$@\" >> {}\necho out\necho err >&2\nexit 6\n",
        place("given")
    );
    fs::write(place("bin/recost"), program).unwrap();
    fs::set_permissions(place("bin/recost"), PermissionsExt::from_mode(0o755)).unwrap();
    let commands = of_crontab(&read("crontab"));
    let mailed: Vec<String> = commands
        .iter()
        .map(|command| {
            let command = command.replace("/srv/shop", &place(""));
            let out = Command::new("/bin/sh")
                .args(["-c", &command.replace("/var/log/recost", &place(""))])
                .env("PATH", format!("{}:/usr/bin:/bin", place("bin")))
                .output()
                .unwrap();
            [text(&out.stdout), text(&out.stderr)].concat()
        })
        .collect();
    assert_eq!(mailed, ["", "out\nerr\n"]);
    for (log, said) in [("run.out", "out\n"), ("run.jsonl", "err\n")] {
        assert_eq!(fs::read_to_string(place(log)).unwrap(), said);
    }
    let given = fs::read_to_string(place("given")).unwrap();
    assert_eq!(given.lines().count(), commands.len());
    for line in given.lines() {
        assert_eq!(accepted(line.split(' ')), Ok(()), "{line}");
    }
}

#[test]
fn systemd_starts_what_the_program_takes() {
    let unit = read("recost.service");
    let mut started = unit
        .lines()
        .filter_map(|l| l.strip_prefix("ExecStart=/usr/local/bin/recost "));
    assert_eq!(accepted(started.next().unwrap().split(' ')), Ok(()));
    assert_eq!(started.next(), None);
}

/// The instructions of the Containerfile, each with what it is given.
fn instructions() -> Vec<(String, String)> {
    let file = read("Containerfile").replace("\\\n", " ");
    let lines = file
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    let parts = lines.map(|line| line.split_once(' ').unwrap());
    parts
        .map(|(name, given)| (name.to_string(), given.to_string()))
        .collect()
}

/// The user's number in the container.
fn uid(instructions: &[(String, String)]) -> String {
    let (_, rest) = instructions
        .iter()
        .find_map(|(_, given)| given.split_once("--uid "))
        .unwrap();
    rest.split(' ').next().unwrap().to_string()
}

#[test]
fn the_container_starts_the_program_that_it_built() {
    let all = instructions();
    let of = |name: &str| -> Vec<&str> {
        all.iter()
            .filter(|(n, _)| n == name)
            .map(|(_, given)| given.as_str())
            .collect()
    };
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let manifest: toml::Table = fs::read_to_string(root.join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    let rust = manifest["package"]["rust-version"].as_str().unwrap();
    let from = of("FROM");
    assert!(
        from[0].contains(&format!("rust:{rust}-")) && from[0].ends_with(" AS build"),
        "{from:?}"
    );
    let program = "/usr/local/bin/recost";
    let built = format!("cargo build --release --locked && cp target/release/recost {program}");
    assert!(
        of("RUN").iter().any(|run| run.ends_with(&built)),
        "{:?}",
        of("RUN")
    );
    assert_eq!(
        of("COPY"),
        [
            ". .".to_string(),
            format!("--from=build {program} {program}")
        ]
    );
    assert_eq!(of("ENTRYPOINT"), [format!("[\"{program}\"]")]);
    assert_eq!(of("CMD"), ["[\"--help\"]"]);
    assert!(
        of("RUN")
            .iter()
            .any(|run| run.contains(&format!("useradd --uid {} ", uid(&all))))
    );
    // What is typed to build it names this very file.
    let typed = read("Containerfile");
    let file = typed
        .split("build -f ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert_eq!(root.join(file), examples().join("Containerfile"));
}

#[test]
fn kubernetes_starts_what_the_program_takes_as_the_user_of_the_container() {
    let script = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
    let file = examples().join("cronjob.yaml").display().to_string();
    let Some(out) = python(&examples(), &["-c", script, &file]) else {
        return;
    };
    let job: Value =
        serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", text(&out.stderr)));
    assert_eq!(job["kind"], "CronJob");
    let fields: Vec<&str> = job["spec"]["schedule"]
        .as_str()
        .unwrap()
        .split(' ')
        .collect();
    assert!(is_time(&fields), "{fields:?}");
    let spec = &job["spec"]["jobTemplate"]["spec"];
    let pod = &spec["template"]["spec"];
    let container = &pod["containers"][0];
    let arguments = container["args"].as_array().unwrap().iter();
    assert_eq!(accepted(arguments.map(|a| a.as_str().unwrap())), Ok(()));
    let rules = spec["podFailurePolicy"]["rules"].as_array().unwrap();
    let of_codes = rules
        .iter()
        .find(|rule| rule["onExitCodes"].is_object())
        .unwrap();
    assert_eq!(of_codes["onExitCodes"]["containerName"], container["name"]);
    assert_eq!(
        pod["securityContext"]["runAsUser"].to_string(),
        uid(&instructions())
    );
    let names = |of: &Value| -> BTreeSet<String> {
        let all = of.as_array().unwrap().iter();
        all.map(|v| v["name"].as_str().unwrap().to_string())
            .collect()
    };
    assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]));
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
