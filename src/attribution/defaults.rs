//! The default routing rules, in the order in which they are tried.

use super::rules::{Rule, RuleTarget};

/// Machine drivers that the default rules read, in order.
pub const MACHINE_DRIVERS: [&str; 2] = ["gpu_ns", "cpu_ns"];
/// The driver of recorded runs, by run id; read whatever the days charged, for what a run left behind is billed later.
pub const RUNS: &str = "runs";
/// The driver of recorded runs, by the resource on which and the time in which they ran.
pub const RUN_TIME: &str = "run_time";
/// Pool drivers that the default rules read, in order.
pub const POOL_DRIVERS: [&str; 2] = ["bytes", "requests"];

/// Unused commitments and reservations are idle; rows that the provider split
/// keep its split; tax and credits follow what they belong to; then tags, a
/// tag of a recorded run, machines by GPU or else CPU time, runs recorded on
/// the resource, pools by bytes or else requests for resources that those
/// drivers know. What is left is `unallocated: no_rule`.
pub fn default_rules() -> Vec<Rule> {
    let mut rules = vec![
        Rule::new("default: unused commitment", RuleTarget::Idle)
            .matching("commitment_discount_status", &["unused"]),
        Rule::new("default: unused reservation", RuleTarget::Idle)
            .matching("capacity_reservation_status", &["unused"]),
        Rule::new("default: provider split", RuleTarget::ProviderSplit)
            .matching("allocated_method_id", &["*"]),
        Rule::new("default: tax", RuleTarget::Tax).matching("charge_category", &["tax"]),
        Rule::new("default: credit", RuleTarget::Credit).matching("charge_category", &["credit"]),
        Rule::new("default: tags", RuleTarget::Tags),
        Rule::new("default: run tag", RuleTarget::Run).driven_by(RUNS),
    ];
    for driver in MACHINE_DRIVERS {
        let name = format!("default: machine by {driver}");
        rules.push(Rule::new(&name, RuleTarget::Machine).driven_by(driver));
    }
    rules.push(Rule::new("default: run map", RuleTarget::Machine).driven_by(RUN_TIME));
    for driver in POOL_DRIVERS {
        let name = format!("default: pool by {driver}");
        let rule = Rule::new(&name, RuleTarget::Pool).driven_by(driver);
        rules.push(Rule {
            known_resource: true,
            ..rule
        });
    }
    rules
}
