//! A week of nights with faults in each, run as cron does: without a date, and again until it succeeds.

use super::calls::{Call, Then};
use super::kills::{When, kill, terminate};
use super::oracle::{self, Tables};
use super::store::{Store, TROUBLES};
use super::world::{NIGHTS, World, twin};
use super::{Dice, budget, disk, exports, store, together};
use crate::shop::text;

/// What happened, how often.
#[derive(Debug, Default)]
struct Count {
    killed: usize,
    terminated: usize,
    full: usize,
    calls: usize,
    wrong: usize,
    together: usize,
    store: usize,
    /// Runs that ended without success, of all of these.
    failed: usize,
}

#[test]
fn a_week_with_faults_in_each_night_ends_with_the_tables_of_a_week_without() {
    let mut dice = Dice::of("week");
    let can_mount = disk::can_mount();
    // The long mode has many weeks, every other of which publishes to a store.
    let weeks = (budget(0) / (2 * NIGHTS.len())).max(1);
    let first = dice.below(2);
    let (mut count, mut faults) = (Count::default(), 0);
    for week in 0..weeks {
        let mut there = ((week + first) % 2 == 1).then(Store::start);
        let mut world = World::before_the_first();
        world.as_it_is_scheduled();
        if let Some(store) = &there {
            store.join(&world);
        }
        for (n, night) in NIGHTS.iter().enumerate() {
            // By its clock the program knows which night it is, as it does where it is scheduled.
            world.is_after(night);
            let before = Tables::of(&world.warehouse());
            let was = world.current();
            let after = &twin().tables[n];
            for _ in 0..1 + dice.below(3) {
                faults += 1;
                let kinds = if there.is_some() { 8 } else { 7 };
                let (said, succeeded) = match dice.below(kinds) {
                    0 | 1 => {
                        let when = When::any(&mut dice);
                        let out = kill(&world, n, when);
                        count.killed += 1;
                        (
                            format!("SIGKILL {when:?}: {}", text(&out.stderr)),
                            out.status.success(),
                        )
                    }
                    2 => {
                        let when = When::any(&mut dice);
                        let out = terminate(&world, n, when);
                        count.terminated += 1;
                        (
                            format!("SIGTERM {when:?}: {}", text(&out.stderr)),
                            out.status.success(),
                        )
                    }
                    // The namespace of the full disk does not reach the store.
                    3 if can_mount && there.is_none() && n > 0 => {
                        let room = dice.below(disk::ROOM);
                        let out = disk::run(&world, n, room);
                        count.full += 1;
                        (
                            format!("{room} KiB free: {}", text(&out.stderr)),
                            out.status.success(),
                        )
                    }
                    4 if !published(&world, was.as_deref()) => {
                        // Where the wrong export is read without complaint its delivery stays known, so only what cannot be.
                        count.wrong += 1;
                        let wrong = *dice.of_these(&[exports::Wrong::Cut, exports::Wrong::Empty]);
                        exports::run(&world, n, wrong, &mut dice)
                    }
                    6 => {
                        let call = Call::any_change(&mut dice);
                        let error = *dice.of_these(&[libc::EIO, libc::ENOSPC]);
                        let out = world.run_to(night, call, Then::Fails(error));
                        count.calls += 1;
                        (
                            format!("error {error} {call:?}: {}", text(&out.stderr)),
                            out.status.success(),
                        )
                    }
                    5 => {
                        count.together += 1;
                        (together::both(&world, n, &mut dice), true)
                    }
                    _ => match &there {
                        Some(store) => {
                            let trouble = *dice.of_these(&TROUBLES);
                            let (said, out) = store::run(&world, store, n, trouble, &mut dice);
                            count.store += 1;
                            (said, out.status.success())
                        }
                        None => {
                            let out =
                                kill(&world, n, When::After(twin().took.mul_f64(dice.share())));
                            count.killed += 1;
                            (
                                format!("SIGKILL: {}", text(&out.stderr)),
                                out.status.success(),
                            )
                        }
                    },
                };
                count.failed += usize::from(!succeeded);
                let said = format!("night of {night}, {said}");
                oracle::whole(&world, was.as_deref(), &before, after, &said);
                if let Some(store) = there.as_ref().filter(|_| n > 0) {
                    store.whole(&said);
                }
            }
            let said = format!("the faults of the night of {night}");
            world.make_good(n, &said);
            if let Some(store) = &mut there {
                store.settled(&world, &said);
            }
        }
    }
    println!("{weeks} weeks, {faults} faults, {count:?}");
}

/// Whether a run has published since `was` was current.
fn published(world: &World, was: Option<&str>) -> bool {
    world.current().as_deref() != was
}
