//! Calls of a run at which something happens to it: `calls.c`, put between the program and the C library, counts what changes
//! files or folders and what reads from files, and just before a call of a number the run gets a signal, another file takes the
//! place of one, or the call fails. It can also have the clock be wrong.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::oracle::{self, Tables};
use super::world::{NIGHTS, World, twin};
use super::{Dice, budget};
use crate::shop::text;

/// What a call does.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Makes, opens to make, links, renames, removes, writes or syncs.
    Change,
    /// Reads from a file, or lists a folder.
    Read,
}

/// What happens instead of a call, or before it.
#[derive(Debug, Clone, Copy)]
pub enum Then<'a> {
    Signal(i32),
    Fails(i32),
    /// The first file takes the place of the second.
    Replaces(&'a Path, &'a Path),
}

/// A call of a run, from 1.
#[derive(Clone, Copy)]
pub struct Call(pub Kind, pub usize);

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "before {:?} {}", self.0, self.1)
    }
}

impl Call {
    /// Any change of a night, every second time one while it publishes.
    pub fn any_change(dice: &mut Dice) -> Self {
        let (all, _) = of_a_night();
        // Publishing is the last quarter, and somewhat less.
        let first = dice.below(2) * all / 4 * 3;
        Call(Kind::Change, 1 + first + dice.below(all - first))
    }

    /// Has something happen there to a program that is to start.
    pub fn set(self, command: &mut Command, then: Then<'_>) {
        let Call(kind, at) = self;
        command
            .env("LD_PRELOAD", between())
            .env("RECOST_CALL_KIND", format!("{kind:?}").to_lowercase())
            .env("RECOST_CALL_AT", at.to_string());
        match then {
            Then::Signal(number) => command.env("RECOST_CALL_SIGNAL", number.to_string()),
            Then::Fails(number) => command.env("RECOST_CALL_ERRNO", number.to_string()),
            Then::Replaces(from, to) => command
                .env("RECOST_CALL_RENAME", from)
                .env("RECOST_CALL_TO", to),
        };
    }
}

/// Has the clock of a program that is to start be wrong by so many seconds.
pub fn set_clock(command: &mut Command, seconds: i64) {
    command
        .env("LD_PRELOAD", between())
        .env("RECOST_CLOCK", seconds.to_string());
}

/// `calls.c` as a library, compiled once by the linker's driver, without which there would be no program either.
fn between() -> &'static Path {
    static BETWEEN: OnceLock<PathBuf> = OnceLock::new();
    BETWEEN.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/calls.c");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        std::fs::create_dir_all(folder).unwrap();
        let library = folder.join(format!("calls-{}.so", std::process::id()));
        let out = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", text(&out.stderr));
        library
    })
}

/// How many changes and reads a night makes.
pub fn of_a_night() -> (usize, usize) {
    static CALLS: OnceLock<(usize, usize)> = OnceLock::new();
    *CALLS.get_or_init(|| {
        let world = World::after_the_first();
        let count = world.temp().join("calls");
        let out = world
            .command(&["run", "pipeline.toml", "--date", NIGHTS[1]])
            .env("LD_PRELOAD", between())
            .env("RECOST_CALL_COUNT", &count)
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", text(&out.stderr));
        let counted = std::fs::read_to_string(&count).unwrap();
        let mut numbers = counted.split_whitespace().map(|n| n.parse().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap())
    })
}

/// Every so many of a night's changes, so that a long mode meets them all.
#[test]
fn a_night_is_killed_before_each_of_its_changes() {
    let mut dice = Dice::of("each change");
    let many = budget(12);
    let (all, _) = of_a_night();
    let (mut hits, mut published) = (0, 0);
    for fault in 0..many {
        let mut world = World::after_the_first();
        let n = 1;
        let before = Tables::of(&world.warehouse());
        let was = world.current();
        // Half of them while it publishes.
        let first = fault % 2 * all / 4 * 3;
        let step = (all - first) as f64 / many.div_ceil(2) as f64;
        let at = first + ((fault / 2) as f64 * step + step * dice.share()) as usize;
        let call = Call(Kind::Change, 1 + at);
        let out = world.run_to(NIGHTS[n], call, Then::Signal(libc::SIGKILL));
        hits += usize::from(out.status.signal() == Some(libc::SIGKILL));
        let said = format!("SIGKILL {call:?} of {all}: {}", text(&out.stderr));
        let done = oracle::whole(&world, was.as_deref(), &before, &twin().tables[n], &said);
        published += usize::from(done);
        world.make_good(n, &said);
    }
    println!("{many} kills, {hits} of them before the end, {published} after it was published");
    assert!(hits > many / 2);
}

#[test]
fn a_night_of_which_a_call_fails_fails_or_makes_do_and_the_next_one_makes_good() {
    let mut dice = Dice::of("failing calls");
    let (changes, reads) = of_a_night();
    let (many, mut failed) = (budget(8), 0);
    for _ in 0..many {
        let mut world = World::after_the_first();
        let n = 1;
        let before = Tables::of(&world.warehouse());
        let was = world.current();
        let (call, errors) = match dice.below(3) {
            0 => (Call(Kind::Read, 1 + dice.below(reads)), &[libc::EIO][..]),
            1 => (
                Call(Kind::Change, 1 + dice.below(changes)),
                &[libc::EIO, libc::ENOSPC, libc::EDQUOT][..],
            ),
            _ => (Call::any_change(&mut dice), &[libc::EIO, libc::ENOSPC][..]),
        };
        let error = *dice.of_these(errors);
        let out = world.run_to(NIGHTS[n], call, Then::Fails(error));
        let said = format!("error {error} {call:?}: {}", text(&out.stderr));
        let code = out.status.code();
        assert!(matches!(code, Some(0 | 9)), "{code:?} after {said}");
        failed += usize::from(code == Some(9));
        oracle::whole(&world, was.as_deref(), &before, &twin().tables[n], &said);
        world.make_good(n, &said);
    }
    println!("{many} calls failed, and {failed} of the nights");
}
