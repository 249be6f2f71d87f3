//! Nights that die or are ended, at any time.

use std::process::Output;
use std::time::Duration;

use super::calls::{Call, Then};
use super::oracle::{self, Tables, names};
use super::world::{NIGHTS, World, twin};
use super::{Dice, budget};
use crate::shop::text;

/// When something happens to a night.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// So long after its start.
    After(Duration),
    /// Just before a call.
    At(Call),
}

impl When {
    /// Any time of a night, more often while it publishes than that would be by chance.
    pub fn any(dice: &mut Dice) -> Self {
        match dice.below(2) {
            0 => When::At(Call::any_change(dice)),
            _ => When::After(twin().took.mul_f64(1.2 * dice.share())),
        }
    }
}

/// Runs night `n` until it gets a signal.
fn until(world: &World, n: usize, when: When, signal: i32) -> Output {
    match when {
        When::At(call) => world.run_to(NIGHTS[n], call, Then::Signal(signal)),
        When::After(span) => {
            let mut run = world.start(NIGHTS[n]);
            run.wait(span);
            run.signal(&format!("-{signal}"));
            run.end()
        }
    }
}

/// Runs night `n` and kills it; gives what it said.
pub fn kill(world: &World, n: usize, when: When) -> Output {
    until(world, n, when, libc::SIGKILL)
}

/// Runs night `n` and has SIGTERM end it.
pub fn terminate(world: &World, n: usize, when: When) -> Output {
    let out = until(world, n, when, libc::SIGTERM);
    // In its first milliseconds the program does not listen yet, and the signal ends it.
    let code = out.status.code();
    assert!(
        matches!(code, None | Some(0 | 130)),
        "{code:?}: {}",
        text(&out.stderr)
    );
    out
}

#[test]
fn a_night_is_killed_at_any_time_again_and_again() {
    let mut dice = Dice::of("kills");
    let (mut left, mut done, mut hits) = (budget(12), 0, 0);
    while left > 0 {
        let mut world = World::after_the_first();
        for (n, night) in NIGHTS.iter().enumerate().skip(1) {
            if left == 0 {
                break;
            }
            let before = Tables::of(&world.warehouse());
            let was = world.current();
            let after = &twin().tables[n];
            // Up to three runs in a row may die before one is let be.
            for _ in 0..=dice.below(3).min(left - 1) {
                let when = When::any(&mut dice);
                let said = format!("SIGKILL {when:?} in the night of {night}");
                let out = kill(&world, n, when);
                hits += usize::from(out.status.code().is_none());
                let said = format!("{said}: {}", text(&out.stderr));
                oracle::whole(&world, was.as_deref(), &before, after, &said);
                (left, done) = (left - 1, done + 1);
            }
            world.make_good(n, "kills");
        }
    }
    println!("{done} kills, {hits} of them before the end");
}

#[test]
fn a_night_is_terminated_at_any_time() {
    let mut dice = Dice::of("terminated");
    let mut world = World::after_the_first();
    for fault in 0..budget(3) {
        let n = 1 + fault % (NIGHTS.len() - 1);
        if n == 1 {
            world = World::after_the_first();
        }
        let before = Tables::of(&world.warehouse());
        let was = world.current();
        let when = When::any(&mut dice);
        let out = terminate(&world, n, when);
        let said = format!(
            "SIGTERM {when:?} in the night of {}: {}",
            NIGHTS[n],
            text(&out.stderr)
        );
        let published = oracle::whole(&world, was.as_deref(), &before, &twin().tables[n], &said);
        if out.status.code() == Some(130) {
            let as_were = said.contains("the published tables are as they were");
            assert_eq!(as_were, !published, "{said}");
        }
        world.make_good(n, &said);
    }
}

#[test]
fn what_a_killed_night_had_read_of_someone_is_gone_before_they_are_noted_as_forgotten() {
    let mut dice = Dice::of("forget");
    for _ in 0..budget(2) {
        let world = World::after_the_first();
        // A night that has read its exports dies.
        let mut run = world.start(NIGHTS[1]);
        let stages = world.file("warehouse/snapshots");
        let kept = || {
            names(&stages)
                .iter()
                .any(|name| stages.join(name).join("features").exists())
        };
        assert!(run.watch(kept), "nothing was kept");
        run.kill();
        let args = ["forget", "pipeline.toml", "u0000001"];
        let mut forget = world.command(&args).spawn().unwrap();
        let list = world.file("warehouse/forgotten");
        while forget.try_wait().unwrap().is_none() && names(&list).is_empty() {}
        std::thread::sleep(Duration::from_millis(dice.below(30) as u64));
        let _ = forget.kill();
        let out = forget.wait_with_output().unwrap();
        assert!(!names(&list).is_empty(), "{}", text(&out.stderr));
        let left = names(&stages)
            .into_iter()
            .find(|name| name.ends_with(".stages"));
        assert_eq!(left, None, "what was read of them may come back");
    }
}
