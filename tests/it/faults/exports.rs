//! Exports that are cut off, damaged, replaced while they are read, or half there.

use std::path::PathBuf;

use super::calls::{self, Call, Then};
use super::oracle::{self, Tables};
use super::world::{NIGHTS, World, twin};
use super::{Dice, budget};
use crate::shop::text;

/// What is wrong with an export.
#[derive(Debug, Clone, Copy)]
pub enum Wrong {
    /// Its end is missing.
    Cut,
    /// A bit is another.
    Flipped,
    /// Before some read of the run another day's takes its place.
    Replaced,
    /// A second file of the same day lies beside it, of which a part is there.
    HalfThere,
    /// It is empty.
    Empty,
}

pub const WRONG: [Wrong; 5] = [
    Wrong::Cut,
    Wrong::Flipped,
    Wrong::Replaced,
    Wrong::HalfThere,
    Wrong::Empty,
];

/// Runs night `n` while one of its exports is wrong, and puts the export right. Gives the log and whether the run succeeded.
pub fn run(world: &World, n: usize, wrong: Wrong, dice: &mut Dice) -> (String, bool) {
    let night = NIGHTS[n];
    let of_day =
        |kind: &str, day: &str| world.file(&format!("exports/{kind}/ds={day}/part-00000.parquet"));
    let of = |kind: &str| of_day(kind, night);
    // Of the bill there is no other day's.
    let kinds = if let Wrong::Replaced = wrong { 3 } else { 4 };
    let kind = dice.below(kinds);
    let path = match kind {
        0 => of("events"),
        1 => of("items"),
        2 => of("usage"),
        _ => world.file(&format!(
            "exports/billing/northcloud/billing_period={}/part-00000.parquet",
            &night[..7]
        )),
    };
    let right = std::fs::read(&path).unwrap();
    let written = path.metadata().unwrap().modified().unwrap();
    // A file that arrives is renamed to its name.
    let put = |path: &PathBuf, bytes: &[u8]| {
        let part = world.file("part");
        std::fs::write(&part, bytes).unwrap();
        std::fs::rename(&part, path).unwrap();
    };
    let beside = path.with_file_name("part-00001.parquet");
    let share = dice.share();
    let at = ((right.len() - 1) as f64 * share) as usize;
    match wrong {
        Wrong::Cut => put(&path, &right[..at]),
        Wrong::Empty => put(&path, &[]),
        Wrong::HalfThere => std::fs::write(&beside, &right[..at]).unwrap(),
        Wrong::Flipped => {
            let mut flipped = right.clone();
            flipped[at] ^= 1 << dice.below(8);
            put(&path, &flipped);
        }
        Wrong::Replaced => {}
    }
    let out = if let Wrong::Replaced = wrong {
        let (_, reads) = calls::of_a_night();
        let other = of_day(["events", "items", "usage"][kind], NIGHTS[n - 1]);
        let part = world.file("part");
        std::fs::copy(other, &part).unwrap();
        // Exports are read at first.
        let call = Call(calls::Kind::Read, 1 + (reads as f64 / 3.0 * share) as usize);
        world.run_to(night, call, Then::Replaces(&part, &path))
    } else {
        world.run(night)
    };
    put(&path, &right);
    let put_right = std::fs::File::options().append(true).open(&path).unwrap();
    put_right.set_modified(written).unwrap();
    let _ = std::fs::remove_file(&beside);
    let said = format!(
        "{wrong:?} at {at} of {}: {}",
        path.display(),
        text(&out.stderr)
    );
    let code = out.status.code();
    assert!(matches!(code, Some(0 | 2 | 3 | 8 | 9)), "{code:?} {said}");
    if code != Some(0) {
        assert!(
            text(&out.stderr).contains("part-0000"),
            "no file is named: {said}"
        );
    }
    (said, code == Some(0))
}

#[test]
fn a_wrong_export_stops_the_night_or_is_restated_once_it_is_right() {
    let mut dice = Dice::of("exports");
    let mut world = World::after_the_first();
    for fault in 0..budget(WRONG.len()) {
        let n = 1 + fault % (NIGHTS.len() - 1);
        if n == 1 {
            world = World::after_the_first();
        }
        let before = Tables::of(&world.warehouse());
        let was = world.current();
        let (said, succeeded) = run(&world, n, WRONG[fault % WRONG.len()], &mut dice);
        if !succeeded {
            oracle::whole(&world, was.as_deref(), &before, &before, &said);
            assert_eq!(was, world.current(), "{said}");
            world.make_good(n, &said);
            continue;
        }
        // What it delivered was read: that stays known, and so do the rows that were replaced, maybe in a table of their own.
        let out = world.run(NIGHTS[n]);
        assert!(out.status.success(), "{said}: {}", text(&out.stderr));
        oracle::settled(&mut world, &said);
        let left = |tables: &Tables| {
            let known = [
                "deliveries",
                "delivery_sums",
                "superseded_charges",
                "usage",
                "contracts.json",
            ];
            known.iter().fold(tables.clone(), |t, name| t.without(name))
        };
        oracle::same(
            &left(&twin().tables[n]),
            &left(&Tables::of(&world.warehouse())),
            &said,
        );
        world = World::after_the_first();
        for night in &NIGHTS[1..=n] {
            let out = world.run(night);
            assert!(out.status.success(), "{}", text(&out.stderr));
        }
    }
}
