//! Spill files: where they lie, how much they may take, and that they go.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::shop::{RUN, Shop, text};

/// Files below a folder and their bytes. What goes meanwhile is not counted.
fn below(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut all = vec![];
    for entry in dir.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.metadata() {
            Ok(about) if about.is_dir() => all.extend(below(&path)),
            Ok(about) => all.push((path, about.len())),
            Err(_) => {}
        }
    }
    all
}

/// Whether rows lie below a folder; beside them lies an empty file that says whether their process lives.
fn has_rows(dir: &Path) -> bool {
    below(dir).iter().any(|(_, bytes)| *bytes > 0)
}

#[test]
fn spill_files_lie_where_the_pipeline_says_take_no_more_than_it_allows_and_go_even_after_a_crash() {
    let shop = Shop::new();
    let more = [
        "generate", "--events", "250000", "--items", "60000", "--out", "exports",
    ];
    assert!(shop.recost(&more).status.success());
    let limited = "memory = \"64MiB\"\nspill = \"scratch\"\nspill_limit = \"64KiB\"";
    shop.edit("memory = \"2GiB\"", limited);
    let (scratch, system) = (shop.file("scratch"), shop.file("system"));
    std::fs::create_dir(&system).unwrap();
    let night = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_recost"));
        command.args(RUN).current_dir(shop.path());
        command.env("TMPDIR", &system).env_remove("RECOST_LOG");
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    };

    let out = night().output().unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("`[engine] spill_limit`"), "{said}");
    assert!(!shop.file("warehouse/current").exists());
    assert_eq!(below(&scratch), [], "a run that failed leaves none");

    shop.edit("spill_limit = \"64KiB\"", "spill_limit = \"1GiB\"");
    let mut child = night().spawn().unwrap();
    while !has_rows(&scratch) {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended and no spill file was seen");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(has_rows(&scratch), "a crash leaves them");
    assert_eq!(below(&system), [], "none lie elsewhere");

    let out = night().output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    let spilled = "select cast(sum(spilled_bytes) > 0 as varchar) from runs \
         where run_id = (select max(run_id) from runs) and stage <> 'run'";
    assert_eq!(shop.query(spilled), ["true"]);
    assert_eq!(below(&scratch), [], "nor those of the crash");
    assert_eq!(below(&system), [], "none lie elsewhere");
}
