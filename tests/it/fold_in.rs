//! Models that are not trained every night: on the nights between, what is new is folded in.

use crate::shop::{Shop, run_of, text};

const MODELS: &str = r#"
[[models]]
id = "fresh"
family = "als"
params = { dim = 16, iterations = 6, regularization = 0.01, alpha = 10.0 }

[[models]]
id = "soft"
family = "softmax"
train_every = 3
params = { dim = 16, epochs = 4, negatives = 64, batch = 512 }

[[models]]
id = "small"
from = "home-als"
compression = { numbers = "int8" }
"#;

/// A shop whose model `home-als` is trained every third night, as are those of [`MODELS`] but `fresh`.
fn shop() -> Shop {
    let shop = Shop::new();
    shop.edit("family = \"als\"", "train_every = 3\nfamily = \"als\"");
    // What is not looked at here is left out, for time.
    shop.edit("after_run = true", "after_run = false");
    shop.edit("dim = 64, iterations = 10", "dim = 16, iterations = 6");
    shop.edit("k = 50\n", "k = 50\nreasons = 0\n");
    let file = shop.file("pipeline.toml");
    let pipeline = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, pipeline + MODELS).unwrap();
    shop
}

/// Runs the night of a day of October.
fn night(shop: &Shop, day: u32) -> String {
    let date = format!("2026-10-{day}");
    let out = shop.recost(&run_of(&date));
    assert!(out.status.success(), "{}", text(&out.stderr));
    text(&out.stdout) + &text(&out.stderr)
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn plan(shop: &Shop, date: &str) -> String {
    let out = shop.recost(&["plan", "pipeline.toml", "--date", date]);
    assert!(out.status.success(), "{}", text(&out.stderr));
    words(&text(&out.stdout))
}

#[test]
fn a_model_is_trained_every_third_night_and_folded_in_between() {
    let shop = shop();
    let planned = plan(&shop, "2026-10-26");
    assert!(
        planned.contains("`home-als` is trained: there is no earlier version"),
        "{planned}"
    );
    for day in [26, 27, 28, 29] {
        night(&shop, day);
    }
    let planned = plan(&shop, "2026-10-30");
    assert!(
        planned.contains("`soft` is folded into its version of 2026-10-29"),
        "{planned}"
    );
    assert!(!planned.contains("`fresh`"), "{planned}");
    let said = night(&shop, 30);
    assert!(said.contains("folded into 2026-10-29"), "{said}");
    let versions = |model: &str| {
        shop.query(&format!(
            "select model_version, trained_on, started_from, agreement > 0.999 from models
             where model_id = '{model}' order by ds"
        ))
    };
    for model in ["home-als", "soft"] {
        let expected = [
            "2026-10-26,2026-10-26,,",
            "2026-10-27,2026-10-26,2026-10-26,true",
            "2026-10-28,2026-10-26,2026-10-26,true",
            "2026-10-29,2026-10-29,,",
            "2026-10-30,2026-10-29,2026-10-29,true",
        ];
        assert_eq!(versions(model), expected, "{model}");
    }
    let days = |model: &str| {
        shop.query(&format!(
            "select trained_on from models where model_id = '{model}' order by ds"
        ))
    };
    assert_eq!(days("small"), days("home-als"));
    let own = ["26", "27", "28", "29", "30"].map(|day| format!("2026-10-{day}"));
    assert_eq!(days("fresh"), own);
    assert_eq!(days("trending"), own);
    item_vectors_stand_and_whatever_has_interactions_has_a_vector(&shop);
    // What was used to fold in is booked as training, of the night's own version.
    let booked = shop.query(
        "select model_version, count(*), min(cpu_ns) > 0 from usage
         where stage = 'training' and model_id = 'soft' group by model_version order by model_version",
    );
    let expected: Vec<String> = own.iter().map(|night| format!("{night},1,true")).collect();
    assert_eq!(booked, expected);
    what_is_judged_is_folded_in_as_well(&shop);
    a_night_again_is_the_same(&shop);
    // Another hyperparameter is another model, which is trained.
    shop.edit("negatives = 64", "negatives = 32");
    let planned = plan(&shop, "2026-10-30");
    assert!(
        planned.contains("`soft` is trained: the version of 2026-10-29 has another family or other hyperparameters"),
        "{planned}"
    );
    night(&shop, 30);
    assert_eq!(versions("soft")[4], "2026-10-30,2026-10-30,,");
    assert_eq!(
        versions("home-als")[4],
        "2026-10-30,2026-10-29,2026-10-29,true"
    );
}

fn item_vectors_stand_and_whatever_has_interactions_has_a_vector(shop: &Shop) {
    for model in ["home-als", "soft"] {
        let stand = shop.query(&format!(
            "with f as (select ds, item_id, factors from item_factors where model_id = '{model}')
             select b.ds, count(*) > 300, bool_and(array_to_string(a.factors, ',') = array_to_string(b.factors, ','))
             from f a join f b on a.item_id = b.item_id
             where a.ds = date '2026-10-26' and b.ds > date '2026-10-26' and b.ds < date '2026-10-30' group by b.ds order by b.ds"
        ));
        let expected = [
            "2026-10-27,true,true",
            "2026-10-28,true,true",
            "2026-10-29,true,false",
        ];
        assert_eq!(stand, expected, "{model}");
        // Users and items that came since the training, and how many of all have no vector.
        for (side, table) in [("user", "user_factors"), ("item", "item_factors")] {
            let found = shop.query(&format!(
                "with had as (select distinct {side}_id from interactions where ds = date '2026-10-28'),
                 v as (select ds, {side}_id, factors from {table} where model_id = '{model}')
                 select count(*) filter (where before.{side}_id is null),
                     count(*) filter (where v.factors is null or array_to_string(array_distinct(v.factors), ',') in ('0', '0.0'))
                 from had left join v on v.{side}_id = had.{side}_id and v.ds = date '2026-10-28'
                 left join v before on before.{side}_id = had.{side}_id and before.ds = date '2026-10-26'"
            ));
            let (new, without) = found[0].split_once(',').unwrap();
            assert_eq!(without, "0", "{model}, {side}");
            assert!(side == "item" || new.parse::<u32>().unwrap() > 50, "{new}");
        }
    }
}

fn what_is_judged_is_folded_in_as_well(shop: &Shop) {
    let judged = shop.query(
        "select o.ds, o.value = f.value, o.value between f.low and f.high
         from evaluation o join evaluation f on o.ds = f.ds and o.metric = f.metric and o.k = f.k
         where o.model_id = 'home-als' and f.model_id = 'fresh' and o.metric = 'recall' and o.k = 20 order by o.ds",
    );
    let expected = [
        "2026-10-26,true,true",
        // At the split no version was as old as the night's, so both were trained.
        "2026-10-27,true,true",
        "2026-10-28,true,true",
        "2026-10-29,true,true",
        "2026-10-30,false,true",
    ];
    assert_eq!(judged, expected);
}

fn a_night_again_is_the_same(shop: &Shop) {
    let before = shop.published();
    night(shop, 30);
    assert_eq!(shop.published(), before);
    let made = |files: Vec<(String, u64)>| -> Vec<(String, u64)> {
        let of_the_night = |file: &(String, u64)| {
            let learnt = ["user_factors/", "item_factors/", "recommendations/"];
            file.0.contains("2026-10-28") && learnt.iter().any(|name| file.0.starts_with(name))
        };
        files.into_iter().filter(of_the_night).collect()
    };
    let before = made(before);
    assert!(before.len() > 3);
    night(shop, 28);
    assert_eq!(made(shop.published()), before);
}

#[test]
fn an_item_that_had_a_vector_of_its_content_gets_one_of_its_interactions() {
    let shop = Shop::new();
    shop.edit(
        "family = \"als\"",
        "content = true\ntrain_every = 2\nfamily = \"als\"",
    );
    shop.edit("[evaluation]\n", "[evaluation]\nenabled = false\n");
    let shipped = include_str!("../../sql/features/interactions.sql");
    let own = format!("select * from ({shipped}) where item_id < 'i000400'");
    std::fs::create_dir_all(shop.file("sql/features")).unwrap();
    std::fs::write(shop.file("sql/features/interactions.sql"), own).unwrap();
    night(&shop, 30);
    std::fs::remove_file(shop.file("sql/features/interactions.sql")).unwrap();
    night(&shop, 31);
    let days = shop.query("select trained_on from models where model_id = 'home-als' order by ds");
    assert_eq!(days, ["2026-10-30", "2026-10-30"]);
    let stand = shop.query(
        "with had as (select distinct item_id, ds from interactions),
         f as (select f.ds, f.item_id, factors, had.item_id is not null as has from item_factors f
             left join had on had.item_id = f.item_id and had.ds = f.ds where model_id = 'home-als')
         select a.has, b.has, count(*) > 20, bool_and(array_to_string(a.factors, ',') = array_to_string(b.factors, ',')),
             bool_or(array_to_string(a.factors, ',') = array_to_string(b.factors, ','))
         from f a join f b on a.item_id = b.item_id
         where a.ds = date '2026-10-30' and b.ds = date '2026-10-31' and b.has group by 1, 2 order by 1, 2",
    );
    assert_eq!(
        stand,
        ["false,true,true,false,false", "true,true,true,true,true"]
    );
}

#[test]
fn days_that_cannot_be_and_models_without_vectors_are_refused() {
    let als = "family = \"als\"";
    for (from, to, wanted) in [
        (
            als,
            "train_every = 0\nfamily = \"als\"",
            "model `home-als`: `train_every = 0`: write the days from one training to the next, 1 to 365",
        ),
        (als, "train_every = 366\nfamily = \"als\"", "1 to 365"),
        (als, "train_every = -1\nfamily = \"als\"", "invalid value"),
        (
            als,
            "train_every = 2\nfamily = \"item_item\"",
            "leave it out for `item_item`",
        ),
        (
            "family = \"popular\"",
            "family = \"popular\"\ntrain_every = 1",
            "leave it out for `popular`",
        ),
        (
            "from = \"home-als\"",
            "from = \"home-als\"\ntrain_every = 2",
            "belong to models that are trained",
        ),
    ] {
        let shop = shop();
        shop.edit("train_every = 3\nfamily = \"als\"", als);
        shop.edit(from, to);
        let out = shop.run();
        let error = words(&text(&out.stderr));
        assert_eq!(out.status.code(), Some(2), "{error}");
        assert!(error.contains(wanted), "{wanted}: {error}");
        assert!(!shop.file("warehouse").exists());
    }
}
