//! Spill files: where they lie, how much they may take, and that they go.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::shop::{RUN, Shop, text, walk};

/// Bytes of the files below a folder, and how many of them there are.
fn below(dir: &Path) -> (u64, usize) {
    let mut all = (0, 0);
    walk(dir, &mut |file| {
        // It may have gone since it was listed.
        let bytes = file.metadata().map_or(0, |about| about.len());
        all = (all.0 + bytes, all.1 + 1);
    });
    all
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
    assert_eq!(below(&scratch), (0, 0), "a run that failed leaves none");

    shop.edit("spill_limit = \"64KiB\"", "spill_limit = \"1GiB\"");
    let since = Instant::now();
    let mut child = night().spawn().unwrap();
    // Beside spill files lies an empty one that says whether the process lives.
    while below(&scratch).0 == 0 {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "it ended and no spill file was seen");
        assert!(since.elapsed() < Duration::from_secs(120), "it spills none");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(below(&scratch), (0, 0), "a crash leaves them");

    let out = night().output().unwrap();
    assert!(out.status.success(), "{}", text(&out.stderr));
    let spilled = "select cast(sum(spilled_bytes) > 0 as varchar) from runs where stage <> 'run'";
    assert_eq!(shop.query(spilled), ["true"]);
    assert_eq!(below(&scratch), (0, 0), "nor those of the crash");
    assert_eq!(below(&system), (0, 0), "none lay elsewhere");
}
