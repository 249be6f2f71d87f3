//! Two runs at once, readers that hold files while nights publish, and a clock that was set back.

use std::fs::File;
use std::io::Read;
use std::process::Command;
use std::time::Duration;

use recost::warehouse::Warehouse;

use super::calls::{Call, Then};
use super::kills::{When, kill};
use super::oracle::{self, Tables};
use super::world::{NIGHTS, World, twin};
use super::{Dice, budget};
use crate::shop::{text, walk};

/// Two runs of night `n`, of which one may find the other at work, or its work done.
pub fn both(world: &World, n: usize, dice: &mut Dice) -> String {
    let first = world.start(NIGHTS[n]);
    let mut second = world.start(NIGHTS[n]);
    second.wait(twin().took.mul_f64(dice.share()));
    let third = world.start(NIGHTS[n]);
    let ids = [&first, &second, &third].map(|run| run.child.id());
    let outs = [first, second, third].map(|run| run.end());
    for out in outs.iter().filter(|out| out.status.code() == Some(7)) {
        let said = text(&out.stderr);
        // On a store's lease it says more before it.
        let holder = |id: &u32| said.contains(&format!("process {id} since 20"));
        assert!(ids.iter().any(holder), "{ids:?} {said}");
    }
    let said: Vec<String> = outs.iter().map(|out| text(&out.stderr)).collect();
    let said = said.join("\n");
    let codes = outs.map(|out| out.status.code().unwrap());
    assert!(
        codes.iter().all(|code| [0, 7].contains(code)),
        "{codes:?} {said}"
    );
    assert!(codes.contains(&0), "{codes:?} {said}");
    said
}

#[test]
fn of_runs_that_are_started_together_one_does_the_night() {
    let mut dice = Dice::of("together");
    let mut world = World::after_the_first();
    for fault in 0..budget(1) {
        let n = 1 + fault % (NIGHTS.len() - 1);
        if n == 1 {
            world = World::after_the_first();
        }
        let said = both(&world, n, &mut dice);
        oracle::same(&twin().tables[n], &Tables::of(&world.warehouse()), &said);
        oracle::settled(&mut world, &said);
    }
}

#[test]
fn a_reader_that_holds_files_reads_what_it_opened_whatever_is_published_or_dies() {
    let mut dice = Dice::of("readers");
    let mut world = World::after_the_first();
    let root = world.file("warehouse/current").canonicalize().unwrap();
    let mut held = vec![];
    walk(&root, &mut |path| {
        let bytes = std::fs::read(path).unwrap();
        held.push((path.to_path_buf(), File::open(path).unwrap(), bytes));
    });
    for n in 1..5 {
        kill(&world, n, When::any(&mut dice));
        world.make_good(n, "a kill beside a reader");
    }
    assert!(!root.exists(), "its snapshot is long gone");
    for (path, mut file, bytes) in held {
        let mut now = vec![];
        file.read_to_end(&mut now).unwrap();
        assert!(now == bytes, "{} was written into", path.display());
    }
}

/// Where the clock was far ahead the ids of runs are, and all runs after it seem to be before it.
#[test]
fn runs_after_the_clock_was_set_back_publish_resume_and_clean_up_as_ever() {
    let mut world = World::after_the_first();
    let ahead = "20990101T000000000Z-1";
    let was = world.current().unwrap();
    // The first night's run, had it begun then.
    let root = world.warehouse();
    let warehouse = Warehouse::new(&root);
    {
        let lock = warehouse.lock("a run since then").unwrap();
        let staging = warehouse.stage(ahead, &lock).unwrap();
        staging.publish(2).unwrap();
    }
    assert_eq!(world.current().as_deref(), Some(ahead));
    // And one that died then, having read its exports.
    let mut run = world.start(NIGHTS[1]);
    let stages = root.join("snapshots");
    let kept = || {
        oracle::names(&stages)
            .iter()
            .any(|name| stages.join(name).join("features").exists())
    };
    assert!(run.watch(kept));
    run.kill();
    let left = oracle::names(&stages)
        .into_iter()
        .find(|n| n.ends_with(".stages"))
        .unwrap();
    let then = "20990101T000001000Z-1.stages";
    std::fs::rename(stages.join(&left), stages.join(then)).unwrap();
    for n in 1..5 {
        let when = When::After(twin().took.mul_f64(0.25 * n as f64));
        kill(&world, n, when);
        world.make_good(n, "the clock was set back");
    }
    let left = oracle::names(&stages);
    assert!(
        !left.contains(&ahead.to_string()) && !left.contains(&was),
        "{left:?}"
    );
    // The nights are known by their dates.
    let args = ["status", "pipeline.toml", "--date", NIGHTS[4], "--json"];
    let status = world.command(&args).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let done = status["nights"].as_array().unwrap().iter();
    let done = done.filter(|night| night["state"] == "done").count();
    assert!(done >= 3, "{status}");
}

/// A copy that a backup made while a night published is a whole warehouse as well.
#[test]
fn a_copy_that_was_made_while_a_night_published_can_be_gone_on_from() {
    let mut dice = Dice::of("copies");
    for _ in 0..budget(1) {
        let world = World::after_the_first();
        let mut copied = World::after_the_first();
        std::fs::remove_dir_all(copied.warehouse()).unwrap();
        let call = Call::any_change(&mut dice);
        let mut run = world.start_to(NIGHTS[1], call, Then::Signal(libc::SIGSTOP));
        while !run.is_stopped() && !run.ended() {
            std::thread::sleep(Duration::from_millis(1));
        }
        run.signal("-CONT");
        // Files that go meanwhile are no failure of a backup.
        let _ = Command::new("cp")
            .arg("-a")
            .arg(world.warehouse())
            .arg(copied.path())
            .output();
        run.end();
        if copied.current().is_some() && copied.file("warehouse/current").exists() {
            copied.make_good_elsewhere(1, "a copy while a night published");
        }
    }
}
