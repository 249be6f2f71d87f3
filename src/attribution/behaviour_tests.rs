//! The worked example to its last digit, and one test per routing behaviour.
#![allow(clippy::unwrap_used)]

use super::test_support::*;
use super::*;
use crate::money::{Currency, Money};

fn busy(
    driver: &'static str,
    resource: &str,
    model: &str,
    stage: Option<Stage>,
    weight: u64,
    capacity: u64,
) -> Use {
    Use {
        driver,
        resource: Some(resource.to_owned()),
        start: 0,
        model: model.to_owned(),
        stage,
        weight,
        reserved: None,
        capacity: (capacity > 0).then_some(capacity),
    }
}

fn sum(rows: &[Out], keep: impl Fn(&Out) -> bool) -> Money {
    Money(
        rows.iter()
            .filter(|row| keep(row))
            .map(|row| row.effective)
            .sum(),
    )
}

fn usage<'a>(row_id: &'a str, to: &'a str) -> impl Fn(&Out) -> bool {
    move |row| row.basis == Basis::Usage && row.row_id == row_id && row.to.starts_with(to)
}

/// `(to, effective)` of a row, in the order written.
fn ends(rows: &[Out], row_id: &str) -> Vec<(String, String)> {
    let rows = rows
        .iter()
        .filter(|row| row.row_id == row_id && row.basis == Basis::Usage);
    rows.map(|row| (row.to.clone(), Money(row.effective).to_string()))
        .collect()
}

fn end(to: &str, amount: &str) -> (String, String) {
    (to.to_owned(), amount.to_owned())
}

/// One GPU node for a day, storage, tax on both, and people's time.
fn example() -> (Vec<Rule>, Vec<Use>, Vec<Bill>) {
    const HOUR_NS: u64 = 3_600_000_000_000;
    let (training, serving) = (Some(Stage::Training), Some(Stage::Deployment));
    let uses = vec![
        busy("gpu_ns", "node", "A", training, 6 * HOUR_NS, 24 * HOUR_NS),
        busy("gpu_ns", "node", "A", serving, 5 * HOUR_NS, 24 * HOUR_NS),
        busy("gpu_ns", "node", "B", serving, 3 * HOUR_NS, 24 * HOUR_NS),
        busy("bytes", "bucket", "A", serving, 30, 0),
        busy("bytes", "bucket", "B", serving, 10, 0),
        busy("timesheet", "team", "A", Some(Stage::Development), 30, 0),
        busy("timesheet", "team", "B", Some(Stage::Development), 10, 0),
    ];
    let mut labour = Bill::new("labour", "400").on("team");
    labour.invoice = Some("payroll".to_owned());
    labour.category = Category::Labour;
    let mut storage = Bill::new("storage", "12").on("bucket");
    storage.category = Category::Storage;
    let mut tax = Bill::new("tax", "11.04").kind("Tax");
    tax.category = Category::Other;
    let bills = vec![tax, labour, Bill::new("node", "98.40").on("node"), storage];
    let labour = Rule::new("people", RuleTarget::Pool)
        .driven_by("timesheet")
        .matching("resource_id", &["team"]);
    let mut rules = vec![labour];
    rules.extend(default_rules());
    (rules, uses, bills)
}

#[test]
fn the_worked_example_to_its_last_digit() {
    let (rules, uses, bills) = example();
    let (rows, summary) = run(&rules, &uses, &bills);
    assert_eq!((summary.charges, summary.idle_pools), (4, 1));
    let node = [
        end("A//training", "24.6"),
        end("A//deployment", "20.5"),
        end("B//deployment", "12.3"),
        end("idle", "41"),
    ];
    assert_eq!(ends(&rows, "node"), node);
    assert_eq!(
        ends(&rows, "storage"),
        [end("A//deployment", "9"), end("B//deployment", "3")]
    );
    assert_eq!(sum(&rows, usage("tax", "A/")), money("5.41"));
    assert_eq!(sum(&rows, usage("tax", "B/")), money("1.53"));
    assert_eq!(sum(&rows, usage("tax", "idle")), money("4.10"));
    assert_eq!(
        ends(&rows, "labour"),
        [end("A//development", "300"), end("B//development", "100")]
    );
    let of = |to: &str, basis: Option<Basis>| {
        sum(&rows, |row| {
            row.to.starts_with(to) && basis.is_none_or(|basis| row.basis == basis)
        })
    };
    assert_eq!(of("A/", Some(Basis::Usage)), money("359.51"));
    assert_eq!(of("B/", Some(Basis::Usage)), money("116.83"));
    assert_eq!(of("idle", Some(Basis::Usage)), money("45.10"));
    assert_eq!(of("A/", None).to_string(), "394.945714285714285714");
    assert_eq!(of("B/", None).to_string(), "126.494285714285714286");
    assert_eq!(of("idle", None), Money::ZERO);
    assert_eq!(sum(&rows, |_| true), money("521.44"));
    let dollar = Currency::parse("USD").unwrap();
    let cents = dollar.cents(&[of("A/", None), of("B/", None)]).unwrap();
    assert_eq!(cents, [money("394.95"), money("126.49")]);
    // Utilisation 57.40 / 98.40.
    let used = sum(&rows, |row| {
        row.row_id == "node" && row.basis == Basis::Usage && row.to != "idle"
    });
    assert_eq!(used, money("57.40"));
}

#[test]
fn idle_moves_in_rows_that_name_their_pool_and_add_up_to_zero() {
    let (rules, uses, bills) = example();
    let (rows, _) = run(&rules, &uses, &bills);
    let moved: Vec<&Out> = rows
        .iter()
        .filter(|row| row.basis == Basis::Allocation)
        .collect();
    // The node's part and the tax's part: one row away, three rows to.
    assert_eq!(moved.len(), 8);
    for row in &moved {
        assert_eq!(
            row.row_id,
            "idle/default: machine by gpu_ns/node/1970-01-01T00:00:00Z/1970-01-02T00:00:00Z/USD"
        );
        assert_eq!(row.driver.as_deref(), Some("gpu_ns"));
    }
    assert_eq!(moved.iter().map(|row| row.effective).sum::<i128>(), 0);
    for category in [Category::Compute, Category::Other] {
        let part = moved.iter().filter(|row| row.category == category);
        assert_eq!(part.map(|row| row.billed).sum::<i128>(), 0);
    }
}

#[test]
fn what_comes_at_the_end_is_in_key_order_whatever_came_first() {
    let busy = |machine, model| busy("gpu_ns", machine, model, None, 1, 6);
    let uses = ["n", "m", "k"].map(|machine| ["A", "B", "C"].map(|model| busy(machine, model)));
    let uses = uses.concat();
    let part = |row: &str, units: &str, category| Bill {
        category,
        ..Bill::new(row, units).on("n")
    };
    let mut bills = vec![
        part("1", "5e-18", Category::Network),
        part("2", "3e-18", Category::Compute),
        part("3", "7e-18", Category::Storage),
        // Twice the same, on two machines: what tax adds to their idle is a tie.
        Bill::new("4", "15e-18").on("m"),
        Bill::new("5", "15e-18").on("k"),
        Bill::new("t2", "5e-18").kind("Tax"),
        Bill::new("t1", "9e-18").kind("Tax"),
        Bill::new("c2", "-2e-18").kind("Credit"),
        Bill::new("c1", "-1e-18").kind("Credit"),
    ];
    let at_the_end = |bills: &[Bill]| {
        let (mut rows, _) = run(&default_rules(), &uses, bills);
        rows.retain(|row| row.basis == Basis::Allocation || "ct".contains(&row.row_id[..1]));
        rows
    };
    let rows = at_the_end(&bills);
    let mut order: Vec<&str> = rows.iter().map(|row| row.row_id.as_str()).collect();
    order.dedup_by_key(|row| row.split('/').next());
    assert_eq!(order[..4], ["c1", "c2", "t1", "t2"]);
    bills.reverse();
    assert_eq!(at_the_end(&bills), rows);
}

#[test]
fn a_machine_that_nobody_used_stays_idle_and_one_without_rows_is_no_machine() {
    let uses = [
        busy("gpu_ns", "quiet", "A", None, 0, 10),
        busy("cpu_ns", "zero", "A", None, 0, 0),
    ];
    let bills = [
        Bill::new("1", "5").on("quiet"),
        Bill::new("2", "6").on("zero"),
        Bill::new("3", "7").on("unknown"),
    ];
    let (rows, summary) = run(&default_rules(), &uses, &bills);
    assert_eq!(ends(&rows, "1"), [end("idle", "5")]);
    assert_eq!(ends(&rows, "2"), [end("unallocated: no_driver", "6")]);
    assert_eq!(ends(&rows, "3"), [end("unallocated: no_rule", "7")]);
    assert_eq!((rows.len(), summary.idle_pools), (3, 0));
}

#[test]
fn oversubscription_is_reported_and_never_negative_idle() {
    let uses = [
        busy("gpu_ns", "n", "A", None, 9, 10),
        busy("gpu_ns", "n", "B", None, 9, 10),
    ];
    let (rows, summary) = run(&default_rules(), &uses, &[Bill::new("1", "5").on("n")]);
    assert_eq!(
        ends(&rows, "1"),
        [end("A//operations", "2.5"), end("B//operations", "2.5")]
    );
    let machine = summary.oversubscribed.first().unwrap();
    assert_eq!(
        (machine.resource_id.as_str(), machine.period_end),
        ("n", DAY)
    );
}

#[test]
fn tags_route_whatever_their_case_and_say_when_they_collide() {
    let bills = [
        Bill::new("1", "1").tagged(&[
            (" Model", "a "),
            ("MODEL_VERSION", "7"),
            ("stage", "Serving"),
        ]),
        Bill::new("2", "1").tagged(&[("model", "B"), ("Model", "A"), ("stage", "cooking")]),
        Bill::new("3", "1").tagged(&[("model", "unheard-of")]),
        Bill::new("4", "1").tagged(&[("model", " ")]),
    ];
    let (rows, summary) = run(&default_rules(), &[], &bills);
    let to = |row: &str| ends(&rows, row)[0].0.clone();
    assert_eq!(to("1"), "A/7/deployment");
    assert_eq!(to("2"), "B//operations");
    assert_eq!(to("3"), "unheard-of//operations");
    assert_eq!(to("4"), "unallocated: no_rule");
    let warnings: Vec<_> = summary.warnings.into_iter().collect();
    let collision = Warning::TagCollision {
        key: "model".to_owned(),
    };
    let stage = Warning::UnknownStage {
        value: "cooking".to_owned(),
    };
    let model = Warning::UnknownModel {
        model: "unheard-of".to_owned(),
    };
    assert_eq!(warnings, [(collision, 1), (stage, 1), (model, 1)]);
}

#[test]
fn what_the_provider_split_keeps_its_split() {
    let mut named = Bill::new("1", "3").on("n");
    named.allocated_method = Some("eks".to_owned());
    named.allocated_tags = tags(&[("model", "B"), ("stage", "training")]);
    let mut nameless = named.clone().tagged(&[("model", "A")]);
    nameless.row_id = "2".to_owned();
    nameless.allocated_tags = tags(&[("team", "x")]);
    let uses = [busy("gpu_ns", "n", "A", None, 9, 10)];
    let (rows, _) = run(&default_rules(), &uses, &[named, nameless]);
    assert_eq!(ends(&rows, "1"), [end("B//training", "3")]);
    assert_eq!(
        ends(&rows, "2"),
        [end("unallocated: provider_split_no_model", "3")]
    );
}

#[test]
fn unused_commitments_are_idle_and_the_first_rule_wins() {
    let mut bill = Bill::new("1", "3").tagged(&[("model", "A")]);
    bill.columns
        .insert("commitment_discount_status".to_owned(), "Unused".to_owned());
    let (rows, _) = run(&default_rules(), &[], &[bill]);
    assert_eq!(ends(&rows, "1"), [end("idle", "3")]);
    assert_eq!(rows.len(), 1);
}

#[test]
fn tax_follows_its_invoice_else_its_issuer_else_nothing() {
    let model = |row: &str, amount, model| Bill::new(row, amount).tagged(&[("model", model)]);
    let tax = |row: &str, invoice: Option<&str>| {
        let mut tax = Bill::new(row, "3").kind("Tax");
        tax.invoice = invoice.map(str::to_owned);
        tax
    };
    let mut elsewhere = model("c", "5", "C");
    elsewhere.invoice = Some("other".to_owned());
    let mut euro = model("e", "7", "C");
    euro.currency = "EUR";
    let mut lonely = tax("t4", None);
    lonely.currency = "JPY";
    let bills = [
        tax("t1", Some("inv")),
        tax("t2", None),
        tax("t3", Some("unheard-of")),
        lonely,
        model("a", "2", "A"),
        model("b", "1", "B"),
        elsewhere,
        model("n", "-9", "C"),
        euro,
        // An untagged charge is taxed too.
        Bill::new("u", "3"),
    ];
    let (rows, _) = run(&default_rules(), &[], &bills);
    let inv = [
        end("A//operations", "1"),
        end("B//operations", "0.5"),
        end("unallocated: no_rule", "1.5"),
    ];
    assert_eq!(ends(&rows, "t1"), inv);
    // C is at 5 − 9 for the issuer, so it bears none.
    assert_eq!(ends(&rows, "t2"), inv);
    assert_eq!(ends(&rows, "t3"), inv);
    assert_eq!(ends(&rows, "t4"), [end("unallocated: tax_no_base", "3")]);
}

#[test]
fn credits_follow_tags_resource_service_account_in_that_order() {
    let with = |mut bill: Bill, service: &str, account: &str| {
        bill.service = Some(service.to_owned());
        bill.account = Some(account.to_owned());
        bill
    };
    let model = |row: &str, amount, model| Bill::new(row, amount).tagged(&[("model", model)]);
    let credit = |row: &str| Bill::new(row, "-1").kind("Credit");
    let bills = [
        with(credit("tagged").tagged(&[("model", "C")]).on("r"), "s", "x"),
        with(credit("resource").on("r"), "s", "x"),
        with(credit("service").on("unheard-of"), "s", "x"),
        with(credit("account"), "unheard-of", "x"),
        with(credit("nothing"), "s", "y"),
        with(model("1", "1", "A").on("r"), "s", "x"),
        with(model("2", "1", "B"), "s", "x"),
        with(model("3", "2", "C"), "other", "x"),
    ];
    let (rows, _) = run(&default_rules(), &[], &bills);
    assert_eq!(ends(&rows, "tagged"), [end("C//operations", "-1")]);
    assert_eq!(ends(&rows, "resource"), [end("A//operations", "-1")]);
    assert_eq!(
        ends(&rows, "service"),
        [end("A//operations", "-0.5"), end("B//operations", "-0.5")]
    );
    let account = [
        end("A//operations", "-0.25"),
        end("B//operations", "-0.25"),
        end("C//operations", "-0.5"),
    ];
    assert_eq!(ends(&rows, "account"), account);
    assert_eq!(
        ends(&rows, "nothing"),
        [end("unallocated: credit_no_base", "-1")]
    );
}

#[test]
fn a_tax_counts_credits() {
    let bills = [
        Bill::new("a", "4").tagged(&[("model", "A")]).on("r"),
        Bill::new("b", "3").tagged(&[("model", "B")]),
        Bill::new("c", "-1").kind("Credit").on("r"),
        Bill::new("t", "6").kind("Tax"),
    ];
    let (rows, _) = run(&default_rules(), &[], &bills);
    assert_eq!(
        ends(&rows, "t"),
        [end("A//operations", "3"), end("B//operations", "3")]
    );
}

#[test]
fn what_a_rule_lets_follow_like_a_tax_keeps_its_issuer_and_charge_category() {
    let mut rules =
        vec![Rule::new("support", RuleTarget::Tax).matching("service_name", &["Support"])];
    rules.extend(default_rules());
    let mut support = Bill::new("s", "6");
    support.service = Some("Support".to_owned());
    let mut last = Bill::new("z", "5").tagged(&[("model", "C")]);
    last.issuer = Some("another".to_owned());
    last.invoice = Some("its own".to_owned());
    let bills = [
        support,
        Bill::new("a", "4").tagged(&[("model", "A")]),
        Bill::new("b", "-1").kind("Credit"),
        last,
    ];
    let (rows, _) = run(&rules, &[], &bills);
    assert_eq!(ends(&rows, "s"), [end("A//operations", "6")]);
    let of = |row: &Out| (row.issuer.clone().unwrap(), row.charge_category.clone());
    let wanted = [("s", "Usage"), ("a", "Usage"), ("b", "Credit")];
    for (row_id, category) in wanted {
        let row = rows.iter().find(|row| row.row_id == row_id).unwrap();
        assert_eq!(of(row), ("issuer".to_owned(), category.to_owned()));
    }
}

#[test]
fn fixed_shares_dates_and_overrides() {
    #[derive(serde::Deserialize)]
    struct File {
        attribution: RoutingConfig,
    }
    let file: File = toml::from_str(
        r#"
        [[attribution.rules]]
        name = "shared"
        version = 1
        to = 1970-01-02
        match = { service_name = "Feature*" }
        target = "model"
        shares = { B = 25, A = "75" }
        stage = "deployment"
        category = "storage"

        [[attribution.rules]]
        name = "shared"
        version = 2
        from = 1970-01-02
        match = { service_name = "Feature*" }
        target = "model"
        models = ["B", "A"]
        driver = "even"
        "#,
    )
    .unwrap();
    let mut before = Bill::new("1", "8");
    before.service = Some(" feature store".to_owned());
    let mut after = before.clone();
    (after.row_id, after.period) = ("2".to_owned(), (DAY, 2 * DAY));
    let (rows, _) = run_with(&file.attribution.routing(), &[], &[before, after]);
    assert_eq!(
        ends(&rows, "1"),
        [end("A//deployment", "6"), end("B//deployment", "2")]
    );
    assert_eq!(
        ends(&rows, "2"),
        [end("A//operations", "4"), end("B//operations", "4")]
    );
    let lineage = |row: &Out| {
        (
            row.rule_version.clone(),
            row.driver.clone().unwrap(),
            row.category,
            row.weight,
        )
    };
    assert_eq!(
        lineage(&rows[0]),
        (
            "1".to_owned(),
            "shares".to_owned(),
            Category::Storage,
            (75_000_000, 100_000_000)
        )
    );
    assert_eq!(
        lineage(&rows[2]),
        ("2".to_owned(), "even".to_owned(), Category::Compute, (1, 2))
    );
}

#[test]
fn a_rule_s_stage_joins_a_driver_s_targets() {
    let uses = [
        busy("gpu_ns", "n", "A", Some(Stage::Training), 1, 0),
        busy("gpu_ns", "n", "A", Some(Stage::Deployment), 2, 0),
        busy("gpu_ns", "n", "B", Some(Stage::Deployment), 1, 0),
    ];
    let rule = Rule {
        stage: Some(Stage::Upgrade),
        ..Rule::new("m", RuleTarget::Machine).driven_by("gpu_ns")
    };
    let (rows, _) = run(&[rule], &uses, &[Bill::new("1", "4").on("n")]);
    assert_eq!(
        ends(&rows, "1"),
        [end("A//upgrade", "3"), end("B//upgrade", "1")]
    );
}

#[test]
fn invalid_rules_and_a_failing_receiver_stop_the_run() {
    let rule = Rule::new("m", RuleTarget::Machine).driven_by("gpu");
    let error = Attributor::new(&vec![rule].into(), tables(&[]), &[])
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("\"m\"") && error.contains("\"gpu\""),
        "{error}"
    );
    let mut attributor = Attributor::new(&default_rules().into(), tables(&[]), &[]).unwrap();
    let bill = Bill::new("1", "4");
    let result = attributor.push(&bill.charge(), &mut |_| Err("disk full".into()));
    assert!(matches!(result, Err(AttributeError::Sink(_))));
}
