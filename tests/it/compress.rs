//! Models made from others: through a night, and what is refused.

use std::collections::BTreeMap;

use crate::shop::{Shop, text};

const SMALLER: &str = r#"
[[models]]
id = "als-int8"
from = "home-als"
compression = { numbers = "int8" }

[[models]]
id = "als-narrow"
from = "home-als"
compression = { dimensions = 8, numbers = "f16" }

[[models]]
id = "als-regulars"
from = "home-als"
compression = { min_interactions = 12, numbers = "int8" }

[[models]]
id = "a-student"
from = "home-als"
compression = { distil = { dim = 4, lists = 5 } }
"#;

/// The shop with a small model of a few passes and those made from it.
fn shop() -> Shop {
    let shop = Shop::new();
    shop.edit(
        "params = { dim = 64, iterations = 10,",
        "params = { dim = 16, iterations = 3,",
    );
    let file = shop.file("pipeline.toml");
    let pipeline = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, pipeline + SMALLER).unwrap();
    shop
}

#[test]
fn smaller_models_are_made_scored_judged_and_billed_like_any() {
    let shop = shop();
    shop.run_ok();
    let models = shop.query(
        "select model_id, family, dim, made_from, compression, scored_users > 1000, recommendations > 10000,
             scoring_seconds > 0, metrics is not null
         from models order by model_id",
    );
    assert_eq!(
        models,
        [
            r#"a-student,als,4,home-als,"{""distil"":{""dim"":4,""lists"":5,""weight"":0.5}}",true,true,true,true"#,
            r#"als-int8,als,16,home-als,"{""numbers"":""int8""}",true,true,true,true"#,
            r#"als-narrow,als,8,home-als,"{""dimensions"":8,""numbers"":""f16""}",true,true,true,true"#,
            r#"als-regulars,als,16,home-als,"{""min_interactions"":12,""numbers"":""int8""}",true,true,true,true"#,
            "home-als,als,16,,,true,true,true,true",
            "trending,popular,,,,true,true,true,true",
        ]
    );

    // The file has what the declaration says: 4 bytes a number, 1 and a scale, 2, and rows left out.
    let sizes: BTreeMap<String, i64> = shop
        .query("select model_id, bytes from models")
        .iter()
        .map(|line| {
            let (id, bytes) = line.split_once(',').unwrap();
            (id.to_owned(), bytes.parse().unwrap())
        })
        .collect();
    let rows: i64 = shop.query("select users + items from models where model_id = 'home-als'")[0]
        .parse()
        .unwrap();
    assert_eq!(sizes["home-als"], rows * 16 * 4);
    assert_eq!(sizes["als-int8"], rows * (16 + 4));
    assert_eq!(sizes["als-narrow"], rows * 8 * 2);
    assert_eq!(sizes["a-student"], rows * 4 * 4);
    assert!(sizes["als-regulars"] < sizes["als-int8"]);
    assert_eq!(sizes["als-regulars"] % (16 + 4), 0);

    // Whole integers times a scale find nearly what floats do; an irregular user gets the popular list, an irregular item
    // nobody.
    let same = shop.query(
        "select count(*) > 0.9 * (select count(*) from recommendations where model_id = 'home-als' and rank <= 10)
         from recommendations as a join recommendations as b
         on a.user_id = b.user_id and a.item_id = b.item_id
         where a.model_id = 'home-als' and b.model_id = 'als-int8' and a.rank <= 10 and b.rank <= 10",
    );
    assert_eq!(same, ["true"]);
    let popular = shop.query(
        "with had as (select user_id, count(*) < 12 as irregular from interactions group by user_id)
         select reason, irregular, count(*) > 0
         from recommendations join had on had.user_id = recommendations.user_id
         where model_id = 'als-regulars' group by reason, irregular order by reason",
    );
    assert_eq!(popular, ["factors,false,true", "popular,true,true"]);
    let rare = shop.query(
        "with few as (select item_id from interactions group by item_id having count(*) < 12)
         select count(*) from recommendations join few on few.item_id = recommendations.item_id
         where model_id = 'als-regulars' and reason = 'factors'",
    );
    assert_eq!(rare, ["0"]);
    let vectors = shop.query(
        "with had as (select item_id, count(*) >= 12 as regular from interactions group by item_id)
         select count(*) = sum(case when regular then 1 else 0 end), sum(case when regular then 1 else 0 end) =
             (select count(*) from had where regular)
         from item_factors join had on had.item_id = item_factors.item_id where model_id = 'als-regulars'",
    );
    assert_eq!(vectors, ["true,true"]);

    // Use is recorded under each id, so that bills reach it; the frontier has a row for each.
    let used = shop.query(
        "select count(distinct model_id), count(distinct stage) from usage where resource_id = 'recost-nightly'",
    );
    assert_eq!(used, ["6,2"]);
    let points = shop.query("select count(distinct model_id), bool_and(recall > 0) from frontier");
    assert_eq!(points, ["6,true"]);
}

#[test]
fn what_cannot_be_made_is_refused_before_anything_is_touched() {
    for (from, to, wanted) in [
        (
            "from = \"home-als\"\ncompression = { dim",
            "from = \"home-ahs\"\ncompression = { dim",
            "did you mean `home-als`?",
        ),
        (
            "from = \"home-als\"\ncompression = { dim",
            "from = \"als-int8\"\ncompression = { dim",
            "is itself made from `home-als`",
        ),
        (
            "from = \"home-als\"\ncompression = { dim",
            "from = \"als-narrow\"\ncompression = { dim",
            "is itself made from",
        ),
        (
            "from = \"home-als\"\ncompression = { dim",
            "from = \"trending\"\ncompression = { dim",
            "has no vectors to compress",
        ),
        (
            "dimensions = 8",
            "dimensions = 0",
            "dimensions = 0: write a whole number from 1 to 16",
        ),
        (
            "dimensions = 8",
            "dimensions = 17",
            "dimensions = 17: write a whole number from 1 to 16",
        ),
        (
            "numbers = \"f16\"",
            "numbers = \"int4\"",
            "expected one of `f32`, `f16`, `int8`",
        ),
        ("numbers = \"f16\"", "digits = 3", "unknown field `digits`"),
        (
            "dimensions = 8, numbers = \"f16\"",
            "numbers = \"f32\"",
            "`compression` changes nothing",
        ),
        (
            "dimensions = 8, numbers",
            "distil = { dim = 4 }, dimensions = 8, numbers",
            "both set the length",
        ),
        (
            "dim = 4, lists = 5",
            "dim = 4, lists = 5, params = { dim = 3 }",
            "`dim` belongs to `distil` itself",
        ),
        (
            "dim = 4, lists = 5",
            "dim = 4, params = { alfa = 3 }",
            "unknown field `alfa`",
        ),
        ("dim = 4, lists = 5", "dim = 0", "distil.dim = 0"),
        (
            "min_interactions = 12",
            "min_interactions = 0",
            "min_interactions = 0: write a whole number from 1",
        ),
        (
            "id = \"als-int8\"\n",
            "id = \"als-int8\"\nfamily = \"als\"\n",
            "has both `family` and `from`",
        ),
        (
            "id = \"als-int8\"\n",
            "id = \"als-int8\"\nparams = { dim = 3 }\n",
            "takes its `params`",
        ),
        (
            "id = \"als-int8\"\n",
            "id = \"als-int8\"\nwarm_start = true\n",
            "belong to models that are trained",
        ),
        (
            "id = \"home-als\"\n",
            "id = \"home-als\"\nfusion = true\n",
            "write `content = true` as well",
        ),
        (
            "compression = { numbers = \"int8\" }\n",
            "",
            "missing field `compression`",
        ),
        (
            "from = \"home-als\"\ncompression = { dim",
            "compression = { dim",
            "missing field `family`",
        ),
    ] {
        let shop = shop();
        shop.edit(from, to);
        let out = shop.run();
        let error = text(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{to}: {error}");
        // Lines are broken to the terminal's width.
        let flat = error
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace("│ ", "");
        assert!(flat.contains(wanted), "{to}: {error}");
        assert!(!shop.file("warehouse/current").exists());
    }
}

#[test]
fn what_is_made_from_another_is_not_tuned() {
    let shop = shop();
    let out = shop.recost(&["tune", "pipeline.toml", "als-int8", "--device", "cpu"]);
    let error = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{error}");
    assert!(error.contains("tune `home-als`"), "{error}");
}

#[test]
fn to_leave_no_item_stops_the_run_and_publishes_nothing() {
    let shop = shop();
    shop.edit("min_interactions = 12", "min_interactions = 100000");
    let out = shop.run();
    let error = text(&out.stderr);
    assert_eq!(out.status.code(), Some(3), "{error}");
    let flat = error
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace("│ ", "");
    assert!(flat.contains("model `als-regulars`"), "{error}");
    assert!(
        flat.contains("`min_interactions = 100000` leaves no user"),
        "{error}"
    );
    assert!(!shop.file("warehouse/current").exists());
}
