//! Nights that die or are ended: at any time, and at each step of publishing.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use super::oracle::{self, Tables, names};
use super::world::{NIGHTS, Working, World, twin};
use super::{Dice, budget};
use crate::shop::text;

/// When a night is ended.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// So long after its start.
    After(Duration),
    /// As soon as a step of publishing is seen in the folder.
    At(Step),
}

/// What can be seen of publishing, in its order.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// The stages are done.
    Checked,
    /// The first files have the names of their content.
    Named,
    /// All files have.
    AllNamed,
    /// The snapshot has its own name.
    Settled,
    /// The link that is to replace `current` is there.
    Linked,
    /// `current` leads to the snapshot.
    Switched,
    /// `current.json` does.
    Pointed,
    /// An older snapshot is gone.
    Retired,
    /// The run is done in the ledger.
    Closed,
    /// What its stages wrote is gone.
    Discarded,
}

const STEPS: [Step; 10] = [
    Step::Checked,
    Step::Named,
    Step::AllNamed,
    Step::Settled,
    Step::Linked,
    Step::Switched,
    Step::Pointed,
    Step::Retired,
    Step::Closed,
    Step::Discarded,
];

impl When {
    /// Any time of a night, more often while it publishes than that would be by chance.
    pub fn any(dice: &mut Dice) -> Self {
        match dice.below(3) {
            0 => When::At(*dice.of_these(&STEPS)),
            _ => When::After(twin().took.mul_f64(1.2 * dice.share())),
        }
    }

    /// Waits for it.
    pub fn wait(self, world: &World, run: &mut Working) {
        match self {
            When::After(span) => run.wait(span),
            When::At(step) => {
                let seen = Seen::of(&world.warehouse());
                run.watch(|| seen.sees(step));
            }
        }
    }
}

/// The folder as it was when the run began.
struct Seen {
    root: PathBuf,
    whole: Vec<String>,
    current: Option<PathBuf>,
    pointer: Option<u64>,
}

impl Seen {
    fn of(root: &Path) -> Self {
        Seen {
            root: root.to_path_buf(),
            whole: whole(root),
            current: std::fs::read_link(root.join("current")).ok(),
            pointer: inode(&root.join("current.json")),
        }
    }

    fn sees(&self, step: Step) -> bool {
        let root = &self.root;
        let ending = |end: &str| {
            let entries = std::fs::read_dir(root.join("snapshots")).ok()?;
            let mut paths = entries.filter_map(|e| Some(e.ok()?.path()));
            paths.find(|p| p.to_string_lossy().ends_with(end))
        };
        let named = |table: &str| {
            let Some(dir) = ending(".staging") else {
                return false;
            };
            let parts = std::fs::read_dir(dir.join(table))
                .into_iter()
                .flatten()
                .flatten();
            let files = parts.flat_map(|p| std::fs::read_dir(p.path()).into_iter().flatten());
            files
                .flatten()
                .any(|f| f.file_name().to_string_lossy().contains(".x"))
        };
        match step {
            Step::Checked => ending(".stages").is_some_and(|dir| dir.join("check").exists()),
            Step::Named => named("allocations"),
            Step::AllNamed => named("user_features"),
            Step::Settled => whole(root).iter().any(|name| !self.whole.contains(name)),
            Step::Linked => root.join("current.new").symlink_metadata().is_ok(),
            Step::Switched => std::fs::read_link(root.join("current")).ok() != self.current,
            Step::Pointed => inode(&root.join("current.json")) != self.pointer,
            Step::Retired => {
                let now = whole(root);
                self.whole.iter().any(|name| !now.contains(name))
            }
            Step::Closed => {
                std::fs::read_link(root.join("current")).ok() != self.current
                    && !names_of(&root.join("runs"))
                        .iter()
                        .any(|n| n.ends_with(".lock"))
            }
            Step::Discarded => {
                std::fs::read_link(root.join("current")).ok() != self.current
                    && ending(".stages").is_none()
            }
        }
    }
}

/// [`names`] of a folder in which files come and go.
fn names_of(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect()
}

fn whole(root: &Path) -> Vec<String> {
    let mut names = names_of(&root.join("snapshots"));
    names.retain(|name| !name.contains('.'));
    names
}

fn inode(path: &Path) -> Option<u64> {
    Some(path.metadata().ok()?.ino())
}

/// Runs night `n` and kills it; gives what it said.
pub fn kill(world: &World, n: usize, when: When) -> Output {
    let mut run = world.start(NIGHTS[n]);
    when.wait(world, &mut run);
    run.kill()
}

/// Runs night `n` and has SIGTERM end it.
pub fn terminate(world: &World, n: usize, when: When) -> Output {
    let mut run = world.start(NIGHTS[n]);
    when.wait(world, &mut run);
    run.terminate();
    let out = run.end();
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
fn a_night_is_killed_at_each_step_of_publishing() {
    let mut seen = vec![];
    for round in 0..budget(1).div_ceil(STEPS.len()) {
        let mut world = World::after_the_first();
        let mut n = 1;
        for step in STEPS {
            if n == NIGHTS.len() {
                n = 1;
                world = World::after_the_first();
            }
            let before = Tables::of(&world.warehouse());
            let was = world.current();
            let out = kill(&world, n, When::At(step));
            let said = format!("SIGKILL at {step:?}, round {round}");
            let published =
                oracle::whole(&world, was.as_deref(), &before, &twin().tables[n], &said);
            seen.push((step, out.status.code().is_none(), published));
            world.make_good(n, &said);
            n += 1;
        }
    }
    println!("step, killed in time, published: {seen:?}");
    assert!(seen.iter().any(|(_, killed, _)| *killed), "{seen:?}");
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
