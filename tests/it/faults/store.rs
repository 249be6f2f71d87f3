//! Nights that publish to a store which answers late, wrongly or not at all, and which another machine takes over.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::Duration;

use super::calls;
use super::kills::When;
use super::oracle::{self, Tables};
use super::world::{NIGHTS, World, twin};
use super::{Dice, budget};
use crate::shop::{tables_below, text};
use crate::store::published_there;
use crate::stores::{Fault, Kind, Server};

/// What becomes of some requests in a row.
#[derive(Debug, Clone, Copy)]
pub enum Trouble {
    Fault(Fault),
    /// Somebody else has written the pointer, as far as the store says.
    PointerTaken,
    /// The same of the lease.
    LeaseTaken,
}

pub const TROUBLES: [Trouble; 8] = [
    Trouble::Fault(Fault::Status(503)),
    Trouble::Fault(Fault::Reset),
    Trouble::Fault(Fault::Unanswered),
    Trouble::Fault(Fault::Short),
    Trouble::Fault(Fault::Flipped),
    Trouble::Fault(Fault::Slow(200)),
    Trouble::PointerTaken,
    Trouble::LeaseTaken,
];

/// A store, and what of it is a day old.
pub struct Store {
    pub server: Server,
    aged: BTreeSet<String>,
}

impl Store {
    pub fn start() -> Self {
        let (server, aged) = (Server::start(Kind::S3), BTreeSet::new());
        Store { server, aged }
    }

    /// Has a project publish there.
    pub fn join(&self, world: &World) {
        let file = world.file("pipeline.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, text + &self.server.config("2s")).unwrap();
    }

    /// The same, and has it bring what it has.
    pub fn begin(&self, world: &World) {
        self.join(world);
        let out = world.command(&["sync", "pipeline.toml"]).output().unwrap();
        assert!(out.status.success(), "{}", text(&out.stderr));
    }

    /// Has trouble befall some requests from a random one on.
    pub fn befall(&self, trouble: Trouble, dice: &mut Dice) -> String {
        // A night makes some hundred requests.
        let first = dice.below(250);
        let many = *dice.of_these(&[1, 2, 5, 400]);
        let mut count = 0;
        self.server.rule(move |request| {
            let writes = request.method == "PUT";
            let (fault, counts) = match trouble {
                Trouble::Fault(fault) => (fault, true),
                Trouble::PointerTaken => (
                    Fault::Status(412),
                    writes && request.key == "shop/current.json",
                ),
                Trouble::LeaseTaken => (Fault::Status(412), writes && request.key == "shop/lock"),
            };
            if !counts {
                return None;
            }
            count += 1;
            let alone = !matches!(trouble, Trouble::Fault(_));
            (alone || (first..first + many).contains(&count)).then_some(fault)
        });
        format!("{trouble:?}, {many} requests from the {first}. on")
    }

    /// The store's pointer leads to a whole snapshot; nothing that was sent in parts lies about.
    pub fn whole(&self, fault: &str) {
        published_there(&self.server)
            .unwrap_or_else(|| panic!("after {fault} nothing is published"));
    }

    /// The store has what the folder has, and nothing that was there a day ago and is not needed.
    pub fn settled(&mut self, world: &World, fault: &str) {
        let there = published_there(&self.server).unwrap();
        let dir = world.file("warehouse/current").canonicalize().unwrap();
        assert!(
            tables_below(&dir) == there,
            "after {fault} the store has other files than the folder"
        );
        assert_eq!(self.server.uploads(), 0, "after {fault}");
        let pointer = self.server.get("shop/current.json").unwrap();
        let pointer: serde_json::Value = serde_json::from_slice(&pointer).unwrap();
        let mut held: Vec<&str> = vec![pointer["run"].as_str().unwrap()];
        let previous = pointer["previous"].as_array().unwrap();
        held.extend(previous.iter().map(|p| p["run"].as_str().unwrap()));
        let keys = self.server.keys();
        let folders = keys.iter().filter_map(|key| {
            let (run, _) = key.strip_prefix("shop/snapshots/")?.split_once('/')?;
            (!held.contains(&run)).then(|| run.to_string())
        });
        let loose: BTreeSet<String> = folders.collect();
        let stay: Vec<_> = loose.intersection(&self.aged).collect();
        assert!(stay.is_empty(), "after {fault} in the store: {stay:?}");
        self.server
            .age("shop/snapshots/", Duration::from_secs(25 * 60 * 60));
        self.aged = loose;
    }
}

/// Runs night `n` with trouble.
pub fn run(
    world: &World,
    store: &Store,
    n: usize,
    trouble: Trouble,
    dice: &mut Dice,
) -> (String, Output) {
    let said = store.befall(trouble, dice);
    let out = world.run(NIGHTS[n]);
    store.server.heal();
    let said = format!(
        "{said} in the night of {}: {}",
        NIGHTS[n],
        text(&out.stderr)
    );
    let code = out.status.code();
    assert!(matches!(code, Some(0 | 7 | 8 | 9)), "{code:?} {said}");
    (said, out)
}

#[test]
fn a_store_in_trouble_has_one_night_or_the_other_and_the_next_run_makes_good() {
    let mut dice = Dice::of("store");
    let mut store = Store::start();
    let mut world = World::after_the_first();
    let tries = budget(TROUBLES.len());
    for fault in 0..tries {
        let n = 1 + fault % (NIGHTS.len() - 1);
        if n == 1 {
            store = Store::start();
            world = World::after_the_first();
            store.begin(&world);
        }
        let before = Tables::of(&world.warehouse());
        let was = world.current();
        let (said, out) = run(
            &world,
            &store,
            n,
            TROUBLES[fault % TROUBLES.len()],
            &mut dice,
        );
        let published = oracle::whole(&world, was.as_deref(), &before, &twin().tables[n], &said);
        assert_eq!(published, out.status.success(), "{said}");
        store.whole(&said);
        world.make_good(n, &said);
        store.settled(&world, &said);
    }
}

#[test]
fn a_night_is_killed_while_it_sends_and_another_machine_or_the_same_goes_on() {
    let mut dice = Dice::of("kills and a store");
    let mut store = Store::start();
    let (mut here, mut there) = (World::after_the_first(), World::after_the_first());
    for fault in 0..budget(3) {
        let n = 1 + fault % (NIGHTS.len() - 1);
        if n == 1 {
            store = Store::start();
            (here, there) = (World::after_the_first(), World::after_the_first());
            std::fs::remove_dir_all(there.warehouse()).unwrap();
            store.begin(&here);
            store.join(&there);
        }
        let before = Tables::of(&here.warehouse());
        let was = here.current();
        // Sending takes its time.
        store
            .server
            .rule(|request| (request.method == "PUT").then_some(Fault::Slow(2)));
        let when = match dice.below(2) {
            0 => When::any(&mut dice),
            _ => When::After(twin().took.mul_f64(1.0 + dice.share())),
        };
        let out = super::kills::kill(&here, n, when);
        store.server.heal();
        let said = format!(
            "SIGKILL {when:?} in the night of {}: {}",
            NIGHTS[n],
            text(&out.stderr)
        );
        let published = here.current() != was;
        let wanted = if published {
            &twin().tables[n]
        } else {
            &before
        };
        let found = Tables::of(&here.warehouse()).without_own_use();
        oracle::same(&wanted.clone().without_own_use(), &found, &said);
        store.whole(&said);
        if fault % 2 == 0 {
            // The lease of one that died passes.
            store.server.age("shop/lock", Duration::from_secs(300));
            there.make_good_elsewhere(n, &said);
            store.settled(&there, &said);
            // The first machine comes back, and fetches what it missed.
        }
        here.make_good_elsewhere(n, &said);
        store.settled(&here, &said);
    }
}

#[test]
fn a_night_that_lost_its_lease_to_another_machine_publishes_nothing() {
    let mut store = Store::start();
    let (mut here, mut there) = (World::after_the_first(), World::after_the_first());
    std::fs::remove_dir_all(there.warehouse()).unwrap();
    store.begin(&here);
    store.join(&there);
    let mut slow = here.start(NIGHTS[1]);
    let stages = here.file("warehouse/snapshots");
    assert!(slow.watch(|| {
        oracle::names(&stages)
            .iter()
            .any(|name| name.ends_with(".stages"))
    }));
    // It stands still for minutes, as far as the store can tell.
    let pid = slow.child.id().to_string();
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill")
            .args([name, &pid])
            .status();
        assert!(sent.unwrap().success());
    };
    signal("-STOP");
    // Another machine's clock is hours ahead, which makes no lock old.
    let mut early = there.command(&["run", "pipeline.toml", "--date", NIGHTS[1]]);
    calls::set_clock(&mut early, 7200);
    let out = early.output().unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(7), "{said}");
    assert!(said.contains(&format!("process {pid} since 20")), "{said}");
    store.server.age("shop/lock", Duration::from_secs(300));
    there.make_good_elsewhere(1, "a lease that was lost");
    signal("-CONT");
    let out = slow.end();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(7), "{said}");
    assert!(
        said.contains("since this one began") || said.contains("took over the lock"),
        "{said}"
    );
    here.make_good_elsewhere(1, "a lease that was lost");
    store.settled(&here, "a lease that was lost");
}
