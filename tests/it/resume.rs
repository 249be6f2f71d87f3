//! Runs that need not do what was done: nothing where nothing changed, the rest where a run ended in the middle.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use tempfile::TempDir;

use crate::interrupt::{Working, assert_no_orphan, endless, is_in, quick};
use crate::shop::{NIGHT, RUN, STAGES, Shop, run_of, text};

/// Of a run that must succeed: what it wrote to its two outputs.
fn said(shop: &Shop, more: &[&str]) -> (String, String) {
    let out = shop.recost(&[&RUN[..], more].concat());
    assert!(out.status.success(), "{}", text(&out.stderr));
    (text(&out.stdout), text(&out.stderr))
}

/// The stages that are kept for a later run, of the newest that keeps any.
fn kept(shop: &Shop) -> Vec<String> {
    let snapshots = std::fs::read_dir(shop.file("warehouse/snapshots"));
    let mut found: Vec<_> = snapshots
        .into_iter()
        .flatten()
        .map(|e| e.unwrap().path())
        .collect();
    found.retain(|path| path.extension().is_some_and(|e| e == "stages"));
    assert!(found.len() <= 1, "{found:?}");
    let Some(text) = found
        .pop()
        .and_then(|f| std::fs::read_to_string(f.join("stages.json")).ok())
    else {
        return vec![];
    };
    let book: serde_json::Value = serde_json::from_str(&text).unwrap();
    let stages = book["finished"].as_array().unwrap().iter();
    stages
        .map(|s| s["stage"].as_str().unwrap().to_string())
        .collect()
}

/// Stages of the newest run of which the message says that an earlier one did them.
fn taken_over(shop: &Shop) -> Vec<String> {
    shop.query(
        "select stage from runs where run_id = (select max(run_id) from runs) and status = 'done'
         and message like 'resumed from run %' order by started_at",
    )
}

/// What no second is in, of all that a night publishes: its files, its models, whose use of machines was recorded.
fn published(shop: &Shop) -> (Vec<(String, u64)>, [Vec<String>; 2]) {
    let models = "select * exclude (seconds, scoring_seconds) from models order by model_id, ds";
    let usage = "select model_id, model_version, stage, count(*) from usage
                 where resource_id = 'recost-nightly' group by all order by 1, 2, 3";
    (shop.published(), [models, usage].map(|sql| shop.query(sql)))
}

#[test]
fn a_night_that_is_there_already_is_not_run_again_unless_something_changed() {
    let shop = Shop::new();
    // A plan is of the device that the pipeline file names.
    shop.edit("device = \"auto\"", "device = \"cpu\"");
    let (first, _) = said(&shop, &[]);
    assert!(first.contains("Stages, and how busy they kept"), "{first}");
    let before = (
        shop.file("warehouse/current").canonicalize().unwrap(),
        shop.published(),
    );
    let runs = || {
        std::fs::read_dir(shop.file("warehouse/runs"))
            .unwrap()
            .count()
    };
    let report = shop.file("report/report.html");
    std::fs::remove_file(&report).unwrap();
    let id = before.0.file_name().unwrap().to_string_lossy().into_owned();
    let nothing = format!(
        "Nothing to do: no export is new, and the night of {NIGHT} was published by run {id}"
    );
    let (out, log) = said(&shop, &["--log-format", "json"]);
    assert!(out.starts_with(&nothing), "{out}");
    assert!(
        log.contains("\"event\":\"unchanged\"") && log.contains(&nothing),
        "{log}"
    );
    assert!(report.exists(), "what is missing is made");
    let plan = shop.recost(&["plan", "pipeline.toml", "--date", NIGHT]);
    // The plan is of the device of the pipeline file, which may be another.
    let cpu = shop.query("select distinct device from runs") == ["cpu"];
    assert!(
        text(&plan.stdout).starts_with(&nothing) || !cpu,
        "{}",
        text(&plan.stdout)
    );
    let now = shop.file("warehouse/current").canonicalize().unwrap();
    assert_eq!((now, runs()), (before.0.clone(), 1));

    // All the same, nothing is read anew, and the tables are the same.
    let (_, log) = said(&shop, &["--force"]);
    assert!(log.contains("0 intervals new or changed"), "{log}");
    assert_eq!((shop.published(), runs()), (before.1, 2));
    let (out, _) = said(&shop, &["--resume"]);
    assert!(out.starts_with("Nothing to do"), "{out}");
    // What can change a table is run for; what cannot, such as a limit, is not.
    shop.edit("[run]", "[run]\nkeep_snapshots = 5");
    assert!(said(&shop, &[]).0.starts_with("Nothing to do"));
    let own = shop.file("sql/reports");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("mine.sql"), "select 1 as one").unwrap();
    assert!(said(&shop, &[]).0.starts_with("Night of"));
    // Another night in between: what it published is not this night's.
    let other = shop.recost(&run_of("2026-10-30"));
    assert!(other.status.success(), "{}", text(&other.stderr));
    assert!(said(&shop, &[]).0.starts_with("Night of"));
}

#[test]
fn a_run_that_is_killed_after_and_in_every_stage_ends_with_the_same_tables() {
    let (shop, clean, temp) = (Shop::new(), Shop::new(), TempDir::new().unwrap());
    clean.run_ok();
    for stages in 1..=6 {
        let mut run = Working::start(&shop, &temp, &RUN);
        run.until("its stages", || kept(&shop).len() >= stages);
        // At once, and in the middle of the next.
        std::thread::sleep(Duration::from_millis(40 * (stages as u64 % 3)));
        run.signal("-KILL");
        assert_eq!(run.end().status.code(), None);
        assert!(!shop.file("warehouse/current").exists());
    }
    assert_eq!(kept(&shop)[..6], STAGES[..6]);
    let out = Working::start(&shop, &temp, &RUN)
        .child
        .wait_with_output()
        .unwrap();
    let log = text(&out.stderr);
    assert!(out.status.success(), "{log}");
    assert!(log.contains("going on after attribute of run "), "{log}");
    assert_eq!(taken_over(&shop)[..6], STAGES[..6]);
    assert_eq!(published(&shop), published(&clean));
    assert_no_orphan(&shop, &temp);
    assert!(said(&shop, &[]).0.starts_with("Nothing to do"));
}

#[test]
fn what_changed_meanwhile_is_done_again_from_the_first_stage_that_it_changes() {
    let (shop, temp) = (endless(), TempDir::new().unwrap());
    let before = published(&shop).0;
    let mut run = Working::start(&shop, &temp, &[&RUN[..], &["--resume"]].concat());
    run.until("training", || is_in(&shop, "train"));
    run.signal("-TERM");
    let out = run.end();
    assert_eq!(out.status.code(), Some(130), "{}", text(&out.stderr));
    let none = "no run ended in the middle: there is nothing to go on with";
    assert!(text(&out.stderr).contains(none), "{}", text(&out.stderr));
    assert_eq!(kept(&shop), ["ingest", "features"]);

    // Another weight is another feature; a check that nothing can pass stops the run.
    shop.edit("iterations = 10000", "iterations = 10");
    shop.edit("half_life_days = 30 ", "half_life_days = 20 ");
    let check = shop.file("sql/checks/never.sql");
    std::fs::create_dir_all(check.parent().unwrap()).unwrap();
    std::fs::write(&check, "select 1 as wrong").unwrap();
    let out = shop.run();
    let log = text(&out.stderr);
    assert_eq!(out.status.code(), Some(3), "{log}");
    let why = "going on after ingest of run ";
    let changed = ": the pipeline file of features is not what it was";
    assert!(log.contains(why) && log.contains(changed), "{log}");
    assert_eq!(taken_over(&shop), ["ingest"]);
    assert_eq!(kept(&shop).last().map(String::as_str), Some("attribute"));

    // Without it only the checks are left to do.
    std::fs::remove_file(&check).unwrap();
    let (_, log) = said(&shop, &[]);
    assert!(log.contains("going on after attribute of run "), "{log}");
    assert_eq!(taken_over(&shop).len(), 6);
    assert_ne!(published(&shop).0, before);
    shop.edit("half_life_days = 20 ", "half_life_days = 30 ");
    shop.run_ok();
    assert_eq!(published(&shop).0, before);
    assert_no_orphan(&shop, &temp);
}

#[test]
fn other_tables_or_exports_leave_nothing_to_go_on_with() {
    let (shop, temp) = (endless(), TempDir::new().unwrap());
    let die = || {
        let mut run = Working::start(&shop, &temp, &RUN);
        run.until("training", || is_in(&shop, "train"));
        run.signal("-KILL");
        run.end();
        assert_eq!(kept(&shop), ["ingest", "features"]);
    };
    die();
    quick(&shop);
    let bill = shop.file("exports/billing/northcloud/billing_period=2026-10");
    std::fs::remove_dir_all(&bill).unwrap();
    let restated = "exports/restated/billing/northcloud/billing_period=2026-10";
    crate::shop::copy(&shop.file(restated), &bill);
    let (_, log) = said(&shop, &[]);
    let why = ": what is new of the exports of ingest is not what it was";
    assert!(
        log.contains("nothing is taken over from run ") && log.contains(why),
        "{log}"
    );
    assert_eq!(taken_over(&shop), Vec::<String>::new());

    shop.edit("iterations = 10", "iterations = 10000");
    die();
    quick(&shop);
    let out = shop.recost(&run_of("2026-10-30"));
    let log = text(&out.stderr);
    assert!(out.status.success(), "{log}");
    assert!(
        log.contains(": the night and what is new of the exports of ingest are not what they were"),
        "{log}"
    );
}

#[test]
fn trouble_that_passes_is_tried_again_and_trouble_that_stays_is_not_for_ever() {
    let (shop, clean, temp) = (Shop::new(), Shop::new(), TempDir::new().unwrap());
    clean.run_ok();
    // What attribution writes beside the snapshots lies on a share that is gone for a while.
    std::fs::create_dir_all(shop.file("warehouse/repeats")).unwrap();
    let hash = shop.file("warehouse/repeats/2026-10.new");
    std::os::unix::fs::symlink(shop.file("share/x"), hash).unwrap();
    shop.edit("[run]", "[run]\nretries = 0");
    let out = shop.run();
    assert_eq!(out.status.code(), Some(9), "{}", text(&out.stderr));
    shop.edit("retries = 0", "retries = 4");
    let mut run = Working::start(&shop, &temp, &RUN);
    let mut log = BufReader::new(run.child.stderr.take().unwrap()).lines();
    let again = log.find(|line| line.as_ref().unwrap().contains("the stage begins again in"));
    assert!(again.is_some(), "it was not tried again");
    std::fs::create_dir(shop.file("share")).unwrap();
    let rest: Vec<String> = log.map(Result::unwrap).collect();
    assert!(run.child.wait().unwrap().success(), "{rest:?}");
    let message = "select message from runs where stage = 'attribute' and run_id = (select max(run_id) from runs)";
    assert!(shop.query(message)[0].contains("begun again after: cannot write"));
    assert_eq!(published(&shop), published(&clean));
}

#[test]
fn a_run_ends_at_its_deadline_and_the_next_goes_on() {
    let (shop, temp) = (endless(), TempDir::new().unwrap());
    // Ten trainings more: no machine is through by then.
    let (holdout, folds) = (
        "holdout_days = 1 ",
        "protocol = \"cross_validation\"\nfolds = 10 ",
    );
    shop.edit(holdout, folds);
    shop.edit("[run]", "[run]\ndeadline = \"20s\"");
    let run = Working::start(&shop, &temp, &RUN);
    let out = run.child.wait_with_output().unwrap();
    let log = text(&out.stderr);
    assert_eq!(out.status.code(), Some(9), "{log}");
    assert!(log.contains("the run passed its deadline of 20s"), "{log}");
    let ended = shop.query("select status, message from runs where stage = 'run' and run_id = (select max(run_id) from runs)");
    assert_eq!(ended, ["interrupted,passed its deadline of 20s"]);
    let stages = ["ingest", "features", "train", "score"].map(String::from);
    let finished = kept(&shop);
    assert!(
        !finished.is_empty() && stages.starts_with(&finished),
        "{finished:?}"
    );
    quick(&shop);
    shop.edit(folds, holdout);
    shop.edit("deadline = \"20s\"", "deadline = \"1h\"");
    // Back to what was published: there is nothing to do, and nothing is left of the run.
    let (out, _) = said(&shop, &[]);
    assert!(out.starts_with("Nothing to do"), "{out}");
    assert_eq!(kept(&shop), Vec::<String>::new());
}
