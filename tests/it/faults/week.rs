//! A week of nights with faults in each, run as cron does: again, until it succeeds.

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
    // So many faults a week; the long mode has many weeks.
    let few = 2 * NIGHTS.len();
    let mut left = budget(few);
    let mut count = Count::default();
    let mut week = 0;
    while left > 0 {
        // Every other week publishes to a store.
        let mut there = (week % 2 == 1 || (left == few && dice.below(2) == 0)).then(Store::start);
        let mut world = World::before_the_first();
        world.as_it_is_scheduled();
        if let Some(store) = &there {
            store.join(&world);
        }
        for (n, night) in NIGHTS.iter().enumerate() {
            let before = Tables::of(&world.warehouse());
            let was = world.current();
            let after = &twin().tables[n];
            let faults = if left > few {
                1 + dice.below(6)
            } else {
                1 + dice.below(3)
            };
            for _ in 0..faults.min(left) {
                left -= 1;
                let kinds = if there.is_some() { 7 } else { 6 };
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
                        // Where the wrong export is read without complaint its delivery stays known, so only what is cut.
                        count.wrong += 1;
                        exports::run(&world, n, exports::Wrong::Cut, &mut dice)
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
                store.settled(&world.warehouse(), &said);
            }
        }
        week += 1;
    }
    println!("{week} weeks, {count:?}");
}

/// Whether a run has published since `was` was current.
fn published(world: &World, was: Option<&str>) -> bool {
    world.current().as_deref() != was
}
