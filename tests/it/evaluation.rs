//! How models are judged: protocols, comparisons, and what a wrong pipeline file is told.

use crate::shop::{NIGHT, Shop, text};

const TEST: &str = "sql/evaluation/test.sql";

/// A shop whose night has run.
fn shop() -> Shop {
    let shop = Shop::new();
    shop.run_ok();
    shop
}

/// Writes the pipeline file with more lines under `[evaluation]`.
fn with(shop: &Shop, pipeline: &str, lines: &str) {
    let head = "[evaluation]\n";
    assert!(pipeline.contains(head));
    let text = pipeline.replace(head, &format!("{head}{lines}\n"));
    std::fs::write(shop.file("pipeline.toml"), text).unwrap();
}

fn evaluate(shop: &Shop) -> std::process::Output {
    let night = ["--date", NIGHT, "--device", "cpu"];
    shop.recost(
        &[
            &["run", "pipeline.toml", "--select", "evaluate"],
            &night[..],
        ]
        .concat(),
    )
}

fn words(bytes: &[u8]) -> String {
    text(bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_protocol_judges_all_models_on_the_same_users() {
    let shop = shop();
    let pipeline = std::fs::read_to_string(shop.file("pipeline.toml")).unwrap();
    std::fs::create_dir_all(shop.file("sql/evaluation")).unwrap();
    // The pairs of one day, and one of a user who does not exist.
    let test = "select user_id, item_id from events where event_type = 'purchase' and ds = date '2026-10-30'
        union all select 'nobody', 'nothing'";
    std::fs::write(shop.file(TEST), test).unwrap();
    let mut judged = vec![];
    for (protocol, folds, said) in [
        ("temporal", "", "temporal: trained on"),
        ("leave_last_out", "", "leave last out: trained on"),
        (
            "cross_validation",
            "folds = 2\n",
            "cross-validation: interactions",
        ),
        ("given", "", "given: tested on"),
    ] {
        with(
            &shop,
            &pipeline,
            &format!("protocol = \"{protocol}\"\n{folds}"),
        );
        let out = evaluate(&shop);
        let error = words(&out.stderr);
        assert!(out.status.success(), "{protocol}: {error}");
        let rows = shop.query(&format!(
            "select count(distinct model_id), count(distinct users), count(distinct metric),
                bool_and(starts_with(protocol, '{said}')), bool_and(low <= value and value <= high)
             from evaluation where metric not in ('coverage', 'gini')"
        ));
        assert_eq!(rows, ["3,1,11,true,true"], "{protocol}");
        // The model finds more than popularity does, whatever the protocol, and the same users say so.
        let pairs = shop.query(
            "select differs, difference > 0 from evaluation_pairs
             where model_id = 'home-als' and other_id = 'popularity' and metric = 'recall' and k = 20",
        );
        assert_eq!(pairs, ["true,true"], "{protocol}");
        if protocol == "given" {
            assert!(
                error.contains("of a user or an item that no training row knows"),
                "{error}"
            );
        }
        let users =
            shop.query("select users from evaluation where metric = 'recall' and k = 20 limit 1");
        judged.push(users[0].parse::<u64>().unwrap());
    }
    let all = shop.query("select count(distinct user_id) from interactions");
    let all: u64 = all[0].parse().unwrap();
    let [temporal, last, cross, given] = judged[..] else {
        panic!("{judged:?}")
    };
    // Every user has a last item; of two parts, not everyone has items in both.
    assert!(
        temporal < cross && cross < last && last < all && given < last,
        "{judged:?} of {all}"
    );
}

#[test]
fn both_directions_of_a_comparison_say_the_same() {
    let shop = shop();
    let there = shop.query("select count(*) from evaluation_pairs");
    let both = shop.query(
        "select count(*) from evaluation_pairs a
         join evaluation_pairs b
           on a.model_id = b.other_id and a.other_id = b.model_id and a.metric = b.metric and a.k = b.k
         join evaluation x on x.model_id = a.model_id and x.metric = a.metric and x.k = a.k
         join evaluation y on y.model_id = b.model_id and y.metric = b.metric and y.k = b.k
         where a.difference = -b.difference and a.low <= a.difference and a.difference <= a.high
           and abs(a.low + b.high) < 0.01 and a.differs = b.differs
           and abs(a.difference - (x.value - y.value)) < 1e-12",
    );
    assert_eq!(there, both);
    // Three models, two others each, ten metrics at three lengths and one of the whole ranking.
    assert_eq!(there, ["186"]);
}

#[test]
fn a_protocol_that_cannot_be_is_refused_before_anything_runs() {
    let shop = Shop::new();
    let pipeline = std::fs::read_to_string(shop.file("pipeline.toml")).unwrap();
    for (settings, wanted) in [
        ("protocol = \"tempral\"", "did you mean `temporal`?"),
        (
            "protocol = \"cross_validation\"\nfolds = 0",
            "folds` must be between 2 and 100",
        ),
        (
            "protocol = \"cross_validation\"\nfolds = 1",
            "folds` must be between 2 and 100",
        ),
        (
            "protocol = \"cross_validation\"\nfolds = 10_000",
            "folds` must be between 2 and 100",
        ),
        (
            "folds = 5",
            "`[evaluation] folds` is for `protocol = \"cross_validation\"`",
        ),
    ] {
        with(&shop, &pipeline, settings);
        let out = evaluate(&shop);
        let error = words(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{error}");
        assert!(error.contains(wanted), "{settings}: {error}");
    }
    assert!(!shop.file("warehouse").exists());
}

#[test]
fn a_given_split_that_is_missing_empty_or_of_nobody_known_changes_nothing() {
    let shop = shop();
    let before = shop.published();
    let pipeline = std::fs::read_to_string(shop.file("pipeline.toml")).unwrap();
    with(&shop, &pipeline, "protocol = \"given\"");
    std::fs::create_dir_all(shop.file("sql/evaluation")).unwrap();
    for (sql, code, wanted) in [
        (None, 2, "needs the file"),
        (
            Some("select 'a' as user_id, 'b' as item"),
            2,
            "has no column item_id, only user_id, item",
        ),
        (
            Some("select user_id, item_id from interactions where false"),
            3,
            "no row to test on",
        ),
        (
            Some("select 'nobody' as user_id, item_id from items"),
            3,
            "is of a user and an item that",
        ),
        (
            Some("select user_id, cast(null as text) as item_id from interactions"),
            3,
            "row 1 has no item_id",
        ),
        // Nothing is left to train on.
        (
            Some("select user_id, item_id from interactions"),
            3,
            "is of a user and an item that",
        ),
    ] {
        if let Some(sql) = sql {
            std::fs::write(shop.file(TEST), sql).unwrap();
        }
        let out = evaluate(&shop);
        let error = words(&out.stderr);
        assert_eq!(out.status.code(), Some(code), "{sql:?}: {error}");
        assert!(error.contains(wanted), "{sql:?}: {error}");
    }
    assert_eq!(before, shop.published());
}
