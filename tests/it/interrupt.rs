//! Runs that are stopped or die in the middle: what they leave, what the ledger says, and what the next run does.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::shop::{NIGHT, RUN, Shop, tables_below, text, tune_of};
use crate::store::published_there;
use crate::stores::{Fault, Kind as StoreKind, Server};

/// Far longer than an interrupt takes, far shorter than the stages it comes into.
const SOON: Duration = Duration::from_secs(20);

/// The program at work in the background, with a temporary folder of its own.
pub struct Working {
    pub child: Child,
    since: Instant,
}

impl Working {
    pub fn start(shop: &Shop, temp: &TempDir, args: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_recost"))
            .args(args)
            .current_dir(shop.path())
            .env_remove("RECOST_LOG")
            .env("TMPDIR", temp.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let since = Instant::now();
        Working { child, since }
    }

    /// Waits until `there` says so.
    pub fn until(&mut self, what: &str, there: impl Fn() -> bool) {
        while !there() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended before {what}: {ended:?}");
            assert!(self.since.elapsed() < Duration::from_secs(300), "no {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn signal(&mut self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
        self.since = Instant::now();
    }

    /// What it said, once it has ended, which must be soon.
    pub fn end(mut self) -> Output {
        while self.child.try_wait().unwrap().is_none() {
            assert!(self.since.elapsed() < SOON, "it goes on");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.wait_with_output().unwrap()
    }
}

/// Whether the newest run is in `stage`. A ledger that is replaced just between being listed and read is asked again.
pub fn is_in(shop: &Shop, stage: &str) -> bool {
    let sql = format!(
        "select stage from runs where stage = '{stage}' and status = 'started'
         and run_id = (select max(run_id) from runs)"
    );
    let out = shop.recost(&["sql", "pipeline.toml", &sql, "--format", "csv"]);
    text(&out.stdout).lines().any(|line| line == stage)
}

/// Status, end, seconds and message of the newest run's row of `stage`.
fn said_of(shop: &Shop, stage: &str) -> Vec<String> {
    shop.query(&format!(
        "select status, ended_at is not null, seconds is not null, message from runs where stage = '{stage}'
         and run_id = (select max(run_id) from runs)"
    ))
}

fn names(dir: PathBuf) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = names
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Nothing but the published snapshots, the ledgers, the hashes that reruns are held against and the lock.
pub fn assert_no_orphan(shop: &Shop, temp: &TempDir) {
    assert_eq!(
        names(shop.file("warehouse")),
        [
            "current",
            "current.json",
            "lock",
            "repeats",
            "runs",
            "snapshots"
        ]
    );
    for name in names(shop.file("warehouse/snapshots")) {
        assert!(!name.contains('.'), "{name} in snapshots");
    }
    for name in names(shop.file("warehouse/runs")) {
        assert!(name.ends_with(".parquet"), "{name} in runs");
    }
    assert_eq!(names(temp.path().to_path_buf()), Vec::<String>::new());
}

/// A shop that was published once, with a model that then trains for minutes.
pub fn endless() -> Shop {
    let shop = Shop::new();
    shop.run_ok();
    shop.edit("iterations = 10", "iterations = 10000");
    shop
}

pub fn quick(shop: &Shop) {
    shop.edit("iterations = 10000", "iterations = 10");
}

#[test]
fn a_signal_ends_a_run_in_the_middle_of_training_and_of_evaluation() {
    let (shop, temp) = (endless(), TempDir::new().unwrap());
    let before = (
        shop.file("warehouse/current").canonicalize(),
        shop.published(),
    );
    for (signal, stage) in [("-TERM", "train"), ("-INT", "evaluate")] {
        // Evaluation trains as well, on what comes before its test.
        let mut run = Working::start(&shop, &temp, &[&RUN[..], &["--select", stage]].concat());
        run.until(stage, || is_in(&shop, stage));
        let status = shop.recost(&["status", "pipeline.toml", "--date", NIGHT]);
        assert!(
            text(&status.stdout).contains(&format!("night {NIGHT}  running since 20")),
            "{}",
            text(&status.stdout)
        );
        run.signal(signal);
        let out = run.end();
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(130), "{said}");
        assert!(
            said.contains("interrupted; the published tables are as they were"),
            "{said}"
        );
        let current = shop.file("warehouse/current").canonicalize();
        assert_eq!(before.0.as_ref().unwrap(), &current.unwrap());
        let row = format!("interrupted,true,true,interrupted by SIG{}", &signal[1..]);
        let said = [said_of(&shop, stage), said_of(&shop, "run")].concat();
        assert_eq!(said, [row.clone(), row]);
        assert_eq!(names(temp.path().to_path_buf()), Vec::<String>::new());
    }
    assert_eq!(before.1, shop.published());
    let plan = text(
        &shop
            .recost(&["plan", "pipeline.toml", "--date", NIGHT])
            .stdout,
    );
    assert!(
        plan.contains(&format!("The last run, night of {NIGHT}: interrupted ")),
        "{plan}"
    );
    quick(&shop);
    shop.run_ok();
    assert_eq!(before.1, shop.published());
    assert_no_orphan(&shop, &temp);
}

#[test]
fn sigterm_ends_a_search_and_keeps_what_it_published() {
    let (shop, temp) = (Shop::new(), TempDir::new().unwrap());
    shop.run_ok();
    let params = "params = { dim = 64, iterations = 10, regularization = 0.01, alpha = 10.0 }";
    shop.edit(
        params,
        "params = { dim = 64, iterations = 10000 }\n[models.search]\ntrials = 4\n[models.search.space]\nalpha = { min = 1.0, max = 100.0 }\n",
    );
    let args = tune_of(NIGHT);
    let mut tune = Working::start(&shop, &temp, &args);
    tune.until("search", || is_in(&shop, "tune"));
    // A night may run meanwhile, and does not take the search for dead.
    let night = shop.recost(&[&RUN[..], &["--select", "features"]].concat());
    assert!(night.status.success(), "{}", text(&night.stderr));
    let tuned = || shop.query("select status, message from runs where stage = 'tune'");
    assert_eq!(tuned(), ["started,"]);
    tune.signal("-TERM");
    assert_eq!(tune.end().status.code(), Some(130));
    assert_eq!(tuned(), ["interrupted,interrupted by SIGTERM"]);
    assert_no_orphan(&shop, &temp);
}

#[test]
fn a_run_that_was_killed_is_told_so_by_status_and_by_the_next_run() {
    let (shop, temp) = (endless(), TempDir::new().unwrap());
    let before = shop.published();
    let mut run = Working::start(&shop, &temp, &RUN);
    run.until("training", || is_in(&shop, "train"));
    run.signal("-KILL");
    assert_eq!(run.end().status.code(), None);
    assert!(
        names(shop.file("warehouse/snapshots"))
            .iter()
            .any(|n| n.ends_with(".staging"))
    );
    assert_eq!(names(temp.path().to_path_buf()).len(), 1);
    // Nobody has noted it yet, and it is known all the same.
    assert_eq!(said_of(&shop, "run"), ["started,false,false,"]);
    let status = || {
        text(
            &shop
                .recost(&["status", "pipeline.toml", "--date", NIGHT])
                .stdout,
        )
    };
    let killed = format!("night {NIGHT}  killed  its process died");
    assert!(status().contains(&killed), "{}", status());
    assert_eq!(before, shop.published());
    let lost = "published nothing: killed";
    let report = || std::fs::read_to_string(shop.file("report/report.html")).unwrap();
    assert!(!report().contains(lost));
    let reported = shop.recost(&["report", "pipeline.toml", "--date", NIGHT]);
    assert!(reported.status.success(), "{}", text(&reported.stderr));
    assert!(report().contains(lost));
    quick(&shop);
    // What was published before is what this run would publish; it is run all the same.
    let next = Working::start(&shop, &temp, &[&RUN[..], &["--force"]].concat());
    let next = next.child.wait_with_output().unwrap();
    assert!(next.status.success(), "{}", text(&next.stderr));
    assert!(status().contains(&killed), "{}", status());
    assert!(!report().contains(lost));
    let dead = shop
        .query("select stage, status, ended_at from runs where status <> 'done' order by stage");
    assert_eq!(dead, ["run,killed,", "train,killed,"]);
    assert_eq!(before, shop.published());
    assert_no_orphan(&shop, &temp);
}

#[test]
fn a_signal_while_the_store_does_not_take_the_pointer_ends_the_run_and_the_next_finds_out() {
    let (shop, temp) = (Shop::new(), TempDir::new().unwrap());
    let store = Server::start(StoreKind::S3);
    // As the default: far longer than a scheduler waits after SIGTERM.
    shop.edit("[run]", &format!("{}\n[run]", store.config("3m")));
    shop.run_ok();
    let tables = shop.published();
    for lands in [false, true] {
        let before = shop.file("warehouse/current").canonicalize().unwrap();
        let pointed = store.get("shop/current.json");
        let asked = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&asked);
        store.rule(move |r| {
            if r.key != "shop/current.json" || !(seen.load(Ordering::SeqCst) || r.method == "PUT") {
                return None;
            }
            // The first write is done or not, and from then on nothing is answered.
            let first = !seen.swap(true, Ordering::SeqCst);
            Some(match first && lands {
                true => Fault::Unanswered,
                false => Fault::Status(503),
            })
        });
        let mut run = Working::start(&shop, &temp, &[&RUN[..], &["--force"]].concat());
        run.until("the pointer", || asked.load(Ordering::SeqCst));
        run.signal("-TERM");
        let out = run.end();
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(130), "{said}");
        assert!(
            said.contains("whether the store has the new tables is not known"),
            "{said}"
        );
        assert!(
            said.contains("run the same command again: it finds out"),
            "{said}"
        );
        store.heal();
        assert_eq!(store.get("shop/current.json") != pointed, lands);
        let current = || shop.file("warehouse/current").canonicalize().unwrap();
        assert_eq!(current(), before);
        assert_eq!(
            said_of(&shop, "run"),
            ["interrupted,true,true,interrupted by SIGTERM"]
        );
        let run_of = || shop.query("select max(run_id) from runs");
        let run = run_of();
        // The next run publishes it in both, or finds that the store has it.
        shop.run_ok();
        assert_eq!(run_of(), run);
        assert!(current().ends_with(&run[0]));
        assert_eq!(
            said_of(&shop, "run"),
            ["done,true,true,published later; when it ended: interrupted by SIGTERM"]
        );
        assert_eq!(shop.published(), tables);
        assert!(published_there(&store).unwrap() == tables_below(&current()));
    }
}
