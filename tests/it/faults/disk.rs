//! Nights on a disk that has no room for them.

use std::io::Write as _;
use std::process::{Command, Output};

use super::oracle::{self, Tables};
use super::world::{NIGHTS, World, copy, twin};
use super::{Dice, budget};
use crate::shop::text;

/// A night has no room in less than so many KiB, more or less.
pub const ROOM: usize = 900;

/// Mounts a file system over the warehouse with what is in it and `$1` KiB more, does the night `$2` there by the program `$3`, and keeps what came
/// of it in `$4`.
const SCRIPT: &str = r#"
set -e
mkdir "$4"
cp -a warehouse/. "$4"
mount -t tmpfs none warehouse
cp -a "$4"/. warehouse
used=$(df -k --output=used warehouse | tail -1)
mount -o remount,size=$((used + $1))k warehouse
"$3" run pipeline.toml --date "$2" && rc=0 || rc=$?
rm -rf "$4"
mkdir "$4"
cp -a warehouse/. "$4"
exit $rc
"#;

/// Whether this system lets a test mount what only it sees.
pub fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    let can = tried.is_ok_and(|out| out.status.success());
    if !can {
        // The test harness holds back what `println!` writes in a test that passes.
        let said = b"SKIPPED, no full disk was tested: unshare cannot mount here\n";
        let _ = std::io::stderr().write_all(said);
    }
    can
}

/// Night `n` with room for so many KiB beside what the warehouse has.
pub fn run(world: &World, n: usize, room: usize) -> Output {
    let kept = world.file("kept");
    let mut command = Command::new("unshare");
    world.set_clock(&mut command);
    let out = command
        .args([
            "-rm",
            "sh",
            "-c",
            SCRIPT,
            "sh",
            &room.to_string(),
            NIGHTS[n],
        ])
        .arg(env!("CARGO_BIN_EXE_recost"))
        .arg(&kept)
        .current_dir(world.path())
        .env("TMPDIR", world.temp())
        .env_remove("RECOST_LOG")
        .output()
        .unwrap();
    std::fs::remove_dir_all(world.warehouse()).unwrap();
    std::fs::create_dir(world.warehouse()).unwrap();
    copy(&kept, &world.warehouse());
    std::fs::remove_dir_all(&kept).unwrap();
    out
}

#[test]
fn a_night_on_a_full_disk_fails_and_says_so_and_the_next_one_makes_good() {
    if !can_mount() {
        return;
    }
    let mut dice = Dice::of("disk");
    let (mut world, mut failed) = (World::after_the_first(), 0);
    let tries = budget(5);
    for fault in 0..tries {
        let n = 1 + fault % (NIGHTS.len() - 1);
        if n == 1 {
            world = World::after_the_first();
        }
        let before = Tables::of(&world.warehouse());
        let was = world.current();
        // The first has too little in any case.
        let room = dice.below(if fault == 0 { ROOM / 9 } else { ROOM });
        let out = run(&world, n, room);
        let log = text(&out.stderr);
        let said = format!("{room} KiB free in the night of {}: {log}", NIGHTS[n]);
        let published = oracle::whole(&world, was.as_deref(), &before, &twin().tables[n], &said);
        if !out.status.success() {
            failed += 1;
            assert!(
                matches!(out.status.code(), Some(9)),
                "{:?} {said}",
                out.status
            );
            assert!(log.contains("No space left on device"), "{said}");
            assert!(!published, "it failed, and yet it published; {said}");
        }
        world.make_good(n, &said);
    }
    println!("{failed} of {tries} nights found no room");
    assert!(failed > 0, "there was always room");
}
