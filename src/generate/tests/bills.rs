//! The planted costs, recomputed from usage and bills alone.

use super::*;

/// `(day, model, version, stage)`; idle and unallocated stand in the model's place.
type Key = (i64, String, String, String);

fn model_costs(path: &Path) -> BTreeMap<Key, (i128, i128)> {
    let truth = read(path);
    let days = truth
        .column_by_name("day")
        .unwrap()
        .as_primitive::<Date32Type>();
    (0..truth.num_rows())
        .map(|r| {
            let or_empty = |column| text(&truth, column, r).unwrap_or_default().to_owned();
            let model = text(&truth, "model_id", r)
                .or(text(&truth, "target", r))
                .unwrap()
                .to_owned();
            let key = (
                i64::from(days.value(r)),
                model,
                or_empty("model_version"),
                or_empty("stage"),
            );
            (
                key,
                (money(&truth, "billed", r), money(&truth, "effective", r)),
            )
        })
        .collect()
}

/// `amount × weight / total`, which the planted rates make exact.
fn exact_share(amount: i128, weight: i128, total: i128) -> i128 {
    // Scaled down by their common parts first, so that the product fits.
    let gcd = |mut a: i128, mut b: i128| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a.abs().max(1)
    };
    let (weight, total) = (weight / gcd(weight, total), total / gcd(weight, total));
    assert_eq!(amount % total, 0, "the share leaves a remainder");
    amount / total * weight
}

/// Reads usage and bills and attributes them by the published rules, with nothing taken from the generator's code.
fn recompute(out: &Path, northcloud: &[PathBuf]) -> BTreeMap<Key, (i128, i128)> {
    let usage: Vec<RecordBatch> = files(&out.join("usage"))
        .iter()
        .map(|path| read(path))
        .collect();
    let mut bills: Vec<PathBuf> = northcloud.to_vec();
    bills.extend(files(&out.join("billing/eastgrid")));
    bills.extend(files(&out.join("ledger")));
    let mut costs: BTreeMap<Key, (i128, i128)> = BTreeMap::new();
    for path in bills {
        let bill = read(&path);
        let mut base: BTreeMap<(String, String, String), i128> = BTreeMap::new();
        let mut taxes = Vec::new();
        for row in 0..bill.num_rows() {
            let (billed, effective) = (
                money(&bill, "BilledCost", row),
                money(&bill, "EffectiveCost", row),
            );
            let (start, end) = (
                time(&bill, "ChargePeriodStart", row).unwrap(),
                time(&bill, "ChargePeriodEnd", row).unwrap(),
            );
            assert!(start < end);
            if text(&bill, "ChargeCategory", row) == Some("Tax") {
                taxes.push((start.div_euclid(DAY), billed, effective));
                continue;
            }
            let tags: BTreeMap<String, String> = text(&bill, "Tags", row)
                .map(|json| serde_json::from_str::<BTreeMap<String, String>>(json).unwrap())
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (key.trim().to_lowercase(), value))
                .collect();
            let mut weights: BTreeMap<(String, String, String), i128> = BTreeMap::new();
            let plain = |name: &str| (name.to_owned(), String::new(), String::new());
            if text(&bill, "CommitmentDiscountStatus", row) == Some("Unused") {
                weights.insert(plain("idle"), 1);
            } else if let Some(model) = tags.get("model") {
                weights.insert(
                    (
                        model.clone(),
                        tags["model_version"].clone(),
                        tags["stage"].clone(),
                    ),
                    1,
                );
            } else {
                let mut hours: BTreeMap<i64, (i128, i128)> = BTreeMap::new();
                for batch in &usage {
                    for u in 0..batch.num_rows() {
                        let at = time(batch, "usage_start", u).unwrap();
                        if text(batch, "resource_id", u) != text(&bill, "ResourceId", row)
                            || !(start..end).contains(&at)
                        {
                            continue;
                        }
                        let amount = |column| i128::from(number(batch, column, u));
                        let busy = amount("reserved_ns")
                            .max(amount("gpu_ns"))
                            .max(amount("cpu_ns"));
                        let capacity = amount("capacity_ns");
                        let weight = if capacity > 0 {
                            busy
                        } else {
                            amount("bytes") + amount("requests")
                        };
                        let own = |column| text(batch, column, u).unwrap().to_owned();
                        *weights
                            .entry((own("model_id"), own("model_version"), own("stage")))
                            .or_default() += weight;
                        let hour = hours.entry(at).or_insert((capacity, 0));
                        assert_eq!(hour.0, capacity, "capacity differs within an hour");
                        hour.1 += busy;
                    }
                }
                let machine = hours.values().any(|h| h.0 > 0);
                let idle: i128 = hours
                    .values()
                    .map(|(capacity, busy)| if machine { capacity - busy } else { 0 })
                    .sum();
                assert!(
                    hours
                        .values()
                        .all(|(capacity, busy)| *capacity == 0 || busy <= capacity),
                    "oversubscribed"
                );
                if idle > 0 {
                    weights.insert(plain("idle"), idle);
                }
                if weights.is_empty() {
                    weights.insert(plain("unallocated"), 1);
                }
            }
            let total: i128 = weights.values().sum();
            for (owner, weight) in weights {
                let (b, e) = (
                    exact_share(billed, weight, total),
                    exact_share(effective, weight, total),
                );
                *base.entry(owner.clone()).or_default() += e;
                let cost = costs
                    .entry((start.div_euclid(DAY), owner.0, owner.1, owner.2))
                    .or_default();
                *cost = (cost.0 + b, cost.1 + e);
            }
        }
        let total: i128 = base.values().filter(|b| **b > 0).sum();
        assert!(
            base.values().all(|b| *b >= 0),
            "a target's base is negative"
        );
        for (day, billed, effective) in taxes {
            for (owner, weight) in base.iter().filter(|(_, b)| **b > 0) {
                let cost = costs
                    .entry((day, owner.0.clone(), owner.1.clone(), owner.2.clone()))
                    .or_default();
                *cost = (
                    cost.0 + exact_share(billed, *weight, total),
                    cost.1 + exact_share(effective, *weight, total),
                );
            }
        }
    }
    costs.retain(|_, cost| *cost != (0, 0));
    costs
}

#[test]
fn the_planted_costs_are_what_the_published_rules_give() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(&dir.path().join("x"));
    let totals = generated(&spec);

    let northcloud = files(&spec.out.join("billing/northcloud"));
    let truth = model_costs(&spec.out.join("truth/model_costs.parquet"));
    assert_eq!(truth, recompute(&spec.out, &northcloud));

    // The restated month replaces its predecessor.
    let again = files(&spec.out.join("restated/billing/northcloud"));
    assert_eq!(again.len(), 1);
    assert_eq!(totals.restated.period, "2026-11");
    let replaced: Vec<PathBuf> = again
        .iter()
        .cloned()
        .chain(
            northcloud
                .into_iter()
                .filter(|p| !p.to_str().unwrap().contains("2026-11")),
        )
        .collect();
    let restated = model_costs(&spec.out.join("truth/restated_model_costs.parquet"));
    assert_eq!(restated, recompute(&spec.out, &replaced));
    assert_ne!(restated, truth);

    let stages: BTreeSet<&str> = truth.keys().map(|key| key.3.as_str()).collect();
    assert_eq!(
        stages,
        [
            "",
            "deployment",
            "development",
            "operations",
            "training",
            "upgrade"
        ]
        .into()
    );
}

#[test]
fn the_truth_sums_to_the_bills_to_the_last_digit() {
    let dir = tempfile::tempdir().unwrap();
    let spec = spec(&dir.path().join("x"));
    let totals = generated(&spec);
    let amount = |text: &str| text.replace('.', "").parse::<i128>().unwrap();
    let mut sums = (0, 0);
    for (issuer, folder) in [
        ("northcloud", "billing/northcloud"),
        ("eastgrid", "billing/eastgrid"),
        ("finance", "ledger"),
    ] {
        for path in files(&spec.out.join(folder)) {
            let bill = read(&path);
            let month = path
                .parent()
                .unwrap()
                .to_str()
                .unwrap()
                .rsplit('=')
                .next()
                .unwrap();
            let delivery = totals
                .deliveries
                .iter()
                .find(|d| d.issuer == issuer && d.period == month)
                .unwrap();
            let sum = |column| {
                (0..bill.num_rows())
                    .map(|row| money(&bill, column, row))
                    .sum::<i128>()
            };
            let (billed, effective) = (sum("BilledCost"), sum("EffectiveCost"));
            assert_eq!(
                (amount(&delivery.billed), amount(&delivery.effective)),
                (billed, effective)
            );
            assert_eq!(delivery.rows, bill.num_rows() as u64);
            assert!(
                (0..bill.num_rows()).all(|row| text(&bill, "BillingCurrency", row) == Some("USD"))
            );
            sums = (sums.0 + billed, sums.1 + effective);
        }
    }
    assert_eq!(totals.deliveries.len(), 6);
    for name in [
        "truth/model_costs.parquet",
        "truth/restated_model_costs.parquet",
    ] {
        let truth = model_costs(&spec.out.join(name));
        let total = truth
            .values()
            .fold((0, 0), |sum, cost| (sum.0 + cost.0, sum.1 + cost.1));
        assert_eq!(total, sums, "{name}");
    }
}

#[test]
fn what_is_billed_over_a_whole_month_is_what_is_recognised_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let end = NaiveDate::from_ymd_opt(2026, 9, 30).unwrap();
    let spec = Spec {
        days: 30,
        events: 3_000,
        ..Spec::preset(Scale::Small, dir.path().join("x"), end, 5)
    };
    for delivery in generated(&spec).deliveries {
        assert_eq!(delivery.billed, delivery.effective, "{}", delivery.issuer);
    }
}
