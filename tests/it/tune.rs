//! `recost tune`: from the declared space to published trials, their cost, and settings to paste.

use chrono::Utc;

use crate::shop::{NIGHT, Shop, run_of, text, tune_of};

fn tune(shop: &Shop, date: &str) -> std::process::Output {
    shop.recost(&tune_of(date))
}

fn words(bytes: &[u8]) -> String {
    text(bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A model that trains in a moment, with a search.
fn small(shop: &Shop, search: &str) {
    let params = "params = { dim = 64, iterations = 10, regularization = 0.01, alpha = 10.0 }";
    let small = "params = { dim = 8, iterations = 4, alpha = 90.0 }";
    shop.edit(params, &format!("{small}\n[models.search]\n{search}"));
}

/// The search as the pipeline file has it, and what it is to be now.
fn change(shop: &Shop, from: &str, to: &str) {
    shop.edit(
        &format!("[models.search]\n{from}"),
        &format!("[models.search]\n{to}"),
    );
}

const SPACE: &str =
    "trials = 4\n[models.search.space]\nalpha = { min = 1.0, max = 100.0, scale = \"log\" }\n";

#[test]
fn a_search_goes_on_where_it_stopped_and_ends_with_settings_to_paste() {
    let shop = Shop::new();
    small(&shop, &format!("budget = \"1s\"\n{SPACE}"));
    // Nothing is published yet.
    assert_eq!(tune(&shop, NIGHT).status.code(), Some(2));
    shop.run_ok();
    // Money that buys next to nothing: one trial begins, then it is spent.
    let money =
        "budget_money = { amount = \"0.0000001\", currency = \"CHF\", per_hour = \"0.36\" }\n";
    change(
        &shop,
        &format!("budget = \"1s\"\n{SPACE}"),
        &format!("{money}{SPACE}"),
    );
    let out = tune(&shop, NIGHT);
    let (said, told) = (words(&out.stdout), words(&out.stderr));
    assert!(out.status.success(), "{told}");
    assert!(
        said.contains("1 trials, 1 of them now; the budget is spent"),
        "{said}"
    );
    assert!(
        told.contains(
            "until CHF 0.0000001, which are 0 s by `per_hour` of the pipeline file, are spent"
        ),
        "{told}"
    );
    let first =
        "select trial, settings, value, started_at from trials where rung = 0 order by trial";
    let before = shop.query(first);
    assert_eq!(before.len(), 1);
    // Again without more money: nothing happens.
    let published = shop.published();
    let said = words(&tune(&shop, NIGHT).stdout);
    assert!(
        said.contains("1 trials, 0 of them now; the budget is spent"),
        "{said}"
    );
    assert_eq!(published, shop.published());
    // Without a budget it goes to its end, and what was there stays.
    change(&shop, &format!("{money}{SPACE}"), SPACE);
    let out = tune(&shop, NIGHT);
    let said = text(&out.stdout);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(said.contains("6 trials, 5 of them now; finished"), "{said}");
    assert_eq!(shop.query(first)[0], before[0]);
    let rows = shop.query(
        "select rung, count(*), min(passes), max(passes), count(distinct search_id), bool_and(low <= value and value <= high),
            bool_and(hyperparameters like '%\"dim\":8,\"iterations\":' || passes || ',%'), min(metric), bool_and(state = 'done')
         from trials where model_id = 'home-als' group by rung order by rung",
    );
    assert_eq!(
        rows,
        [
            "0,4,2,2,1,true,true,ndcg@20,true",
            "1,2,4,4,1,true,true,ndcg@20,true"
        ]
    );
    // 90 is far too much for this shop: something drawn is better, and it is said how to take it.
    assert!(
        said.contains("[[models]]\nid = \"home-als\"\nfamily = \"als\"\nparams = { alpha = "),
        "{said}"
    );
    // Every trial is in the usage of recost's own machine, once.
    let used = shop.query(
        "select count(*), count(distinct usage_start), min(model_id), max(model_id), min(model_version), bool_and(cpu_ns >= 0)
         from usage where stage = 'development' and resource_id = 'recost-nightly'",
    );
    assert_eq!(used, [format!("6,6,home-als,home-als,{NIGHT},true")]);
    let published = shop.published();
    let out = tune(&shop, NIGHT);
    assert!(out.status.success());
    assert!(
        words(&out.stdout).contains(
            "6 trials, 0 of them now; it was finished before, there is nothing left to do"
        )
    );
    assert_eq!(published, shop.published());
}

#[test]
fn the_same_passes_give_the_same_choice_whatever_the_test_days_hold() {
    let (one, two) = (Shop::new(), Shop::new());
    for shop in [&one, &two] {
        small(shop, &format!("budget_passes = 12\n{SPACE}"));
        shop.run_ok();
    }
    // The last day is the evaluation's test: what happens on it must not matter.
    let day = two.file(&format!("exports/events/ds={NIGHT}"));
    let (from, to) = (two.file("exports/events/ds=2026-10-30"), day);
    std::fs::remove_dir_all(&to).unwrap();
    std::fs::create_dir(&to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    two.edit("max_rejected = 0.01", "max_rejected = 1.0");
    two.run();
    let trials = |shop: &Shop| {
        assert!(tune(shop, NIGHT).status.success());
        shop.query("select search_id, rung, trial, settings, value, low, high from trials order by rung, trial")
    };
    let found = trials(&one);
    assert_eq!(found, trials(&two));
    let passes: usize = one.query("select sum(passes) from trials")[0]
        .parse()
        .unwrap();
    assert!((4..=12).contains(&passes), "{passes}");
}

#[test]
fn a_search_that_cannot_be_is_refused_with_what_to_write_instead() {
    for (search, wanted) in [
        (
            "[models.search.space]",
            "search: space: the search space has no members",
        ),
        (
            "[models.search.space]\nalpha = []",
            "`alpha`: it has no members",
        ),
        (
            "[models.search.space]\nalpha = { min = 9.0, max = 1.0 }",
            "`alpha`: min = 9 is above max = 1",
        ),
        (
            "[models.search.space]\nalfa = [1.0]",
            "did you mean `alpha`?",
        ),
        (
            "[models.search.space]\nlearning_rate = [0.1]",
            "unknown field `learning_rate`, expected one of `alpha`, `cg_steps`",
        ),
        (
            "[models.search.space]\niterations = [5]",
            "`iterations` is what the search spends",
        ),
        ("budgett = \"5m\"", "did you mean `budget`?"),
        (
            "budget = \"5 fortnights\"",
            "write a whole number and s, m, h or d",
        ),
        ("metric = \"ndgc@20\"", "did you mean `ndcg`?"),
        (
            "budget_passes = 3",
            "`budget_passes` = 3 is too small for one trial, which takes 4 passes",
        ),
    ] {
        let shop = Shop::new();
        small(&shop, search);
        let out = tune(&shop, NIGHT);
        let error = words(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{search}: {error}");
        assert!(error.contains(wanted), "{search}: {error}");
        assert!(!shop.file("warehouse").exists());
    }
    let shop = Shop::new();
    let other = |model: &str| {
        let out = shop.recost(&["tune", "pipeline.toml", model, "--date", NIGHT]);
        assert_eq!(out.status.code(), Some(2));
        words(&out.stderr)
    };
    assert!(other("home-asl").contains("did you mean `home-als`?"));
    assert!(other("trending").contains("the family popular has no hyperparameters to search"));
    // Without bills in the currency and without a price, money says nothing.
    small(
        &shop,
        &format!("budget_money = {{ amount = \"1\", currency = \"CHF\" }}\n{SPACE}"),
    );
    shop.run_ok();
    let out = tune(&shop, NIGHT);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        words(&out.stderr).contains("no bill in CHF says what an hour of `recost-nightly` costs")
    );
}

#[test]
fn the_bill_of_the_machine_reaches_the_model_as_development() {
    let today = Utc::now().date_naive();
    let night = today.to_string();
    let shop = Shop::new();
    let made = shop.recost(&[
        "generate", "--out", "exports", "--scale", "small", "--end", &night,
    ]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    small(&shop, "trials = 2\n");
    let run = || {
        let out = shop.recost(&run_of(&night));
        assert!(out.status.success(), "{}", text(&out.stderr));
    };
    run();
    let out = tune(&shop, &night);
    assert!(out.status.success(), "{}", text(&out.stderr));
    let (first, next) = (today.format("%Y-%m-01"), today + chrono::Months::new(1));
    let bill = format!(
        "BillingCurrency,BillingPeriodStart,BillingPeriodEnd,InvoiceIssuerName,ChargePeriodStart,ChargePeriodEnd,\
         ChargeCategory,BilledCost,EffectiveCost,ResourceId,ConsumedQuantity,ConsumedUnit\n\
         USD,{first},{},Cloud,{today},{},Usage,24.00,24.00,recost-nightly,24,Hours\n",
        next.format("%Y-%m-01"),
        today + chrono::Days::new(1),
    );
    std::fs::write(shop.file("own.csv"), bill).unwrap();
    let source = "[[sources]]\nname = \"own\"\nkind = \"charges\"\npath = \"own.csv\"\ndialect = \"focus\"\n\n[features]";
    shop.edit("[features]", source);
    run();
    let shares = shop.query(
        "select model_id, stage, sum(a.effective) > 0 from allocations a join charges c on a.row_id = c.row_id
         where c.source = 'own' and a.basis = 'usage' and a.model_id = 'home-als' group by model_id, stage order by stage",
    );
    assert!(
        shares.contains(&"home-als,development,true".to_string()),
        "{shares:?}"
    );
    assert!(
        shares.contains(&"home-als,training,true".to_string()),
        "{shares:?}"
    );
    let whole = shop.query(
        "select sum(a.effective) = 24 from allocations a join charges c on a.row_id = c.row_id
         where c.source = 'own' and a.basis = 'usage'",
    );
    assert_eq!(whole, ["true"]);
    // And now a bill says what an hour of the machine costs: 1.00.
    change(
        &shop,
        "trials = 2\n",
        "trials = 3\nbudget_money = { amount = \"0.01\", currency = \"USD\" }\n",
    );
    let told = words(&tune(&shop, &night).stderr);
    assert!(
        told.contains("until USD 0.01, which are 36 s by the bills of recost-nightly from"),
        "{told}"
    );
}
