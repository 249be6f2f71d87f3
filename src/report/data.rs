//! What a report shows: plain values, read from the warehouse by someone else.
//!
//! Amounts are [`Money`] in the currency of the [`CurrencyData`] that holds
//! them. Currencies are never added, so each is a section of its own. A ratio
//! is never stored: its numerator and denominator are.

use crate::attribution::compare::Comparison;
use crate::money::{Currency, Money, Residue};
use chrono::NaiveDate;

/// Everything in one report.
#[derive(Debug, Clone)]
pub struct ReportData {
    /// Name of the shop or pipeline.
    pub name: String,
    /// Id of the run that published the tables.
    pub run_id: String,
    /// The only billing period that is shown, such as `2026-10`.
    pub period: Option<String>,
    /// Data interval of that run.
    pub date: NaiveDate,
    /// First day covered, by charge period.
    pub first_day: NaiveDate,
    /// Last day covered, included.
    pub last_day: NaiveDate,
    /// Program and version, such as `recost 0.1.0`.
    pub version: String,
    /// Shown as it is. `None` leaves it out, so that the same data give the same bytes.
    pub generated_at: Option<String>,
    /// One section per currency, in the order to show.
    pub currencies: Vec<CurrencyData>,
    /// The trained model versions and the run's verdict on them.
    pub models: Vec<ModelVerdict>,
    /// Measured quality: model version × metric × k.
    pub quality: Vec<QualityMetric>,
    /// What each model of the newest night is worth and costs, the cheapest first on each basis and in each currency.
    pub frontier: Vec<FrontierPoint>,
    /// Models against each other on the same users: model × other model × metric × k, in both directions.
    pub pairs: Vec<QualityPair>,
    /// Rows in and out, one per source.
    pub sources: Vec<SourceRows>,
    /// Rejected rows, one per source × column × reason.
    pub quarantine: Vec<QuarantineGroup>,
    /// Rejected charges whose currency cannot be read: they are in no section.
    pub without_currency: u64,
    /// Stages of the run, in the order in which they ran.
    pub stages: Vec<StageRun>,
    /// The night or billing period whose run came after all that is shown and published nothing, and how it ended.
    pub lost: Option<(String, String)>,
    /// Closed billing periods, such as `2026-10`, and the day on which each was closed.
    pub closed: Vec<(String, NaiveDate)>,
    /// Billing periods that the movers compare: the one before, and the newest.
    pub compared: Option<(String, String)>,
    /// Versions and models side by side: each pair once, the newer or more served one second.
    pub comparisons: Vec<Comparison>,
    /// Sums of the bills that were held against others; what does not hold first.
    pub conformance: Vec<Conformance>,
    /// All currencies in one, where the pipeline has a reporting currency.
    pub converted: Vec<Converted>,
}

/// All amounts in one currency.
///
/// `costs`, `reconciliation` and `daily` cover the same charges; the report
/// checks that they add up to the same totals and says so when they do not.
#[derive(Debug, Clone)]
pub struct CurrencyData {
    pub currency: Currency,
    /// One row per target × version × stage × category.
    pub costs: Vec<CostLine>,
    /// One row per day × target.
    pub daily: Vec<DayCost>,
    /// One row per day × model × version × surface.
    pub units: Vec<UnitCost>,
    /// One row per billing period × issuer × basis × line.
    pub reconciliation: Vec<ReconciliationLine>,
    /// The dearest idle and unallocated resources, dearest first; the rest need not be here.
    pub resources: Vec<ResourceCost>,
    /// The same by service and account, for which a rule is written.
    pub services: Vec<ResourceCost>,
    /// Why effective cost is not what was billed, one line per kind of charge.
    pub bridge: Vec<BridgeLine>,
    /// What of each machine was used, dearest first.
    pub machines: Vec<Machine>,
    /// What later bills changed in closed periods, oldest first.
    pub restatements: Vec<Restatement>,
    /// What each version cost to make and what became of it, by model and version.
    pub versions: Vec<VersionCost>,
    /// The same by model and month, from the first month of each model on, whatever the period of the report.
    pub roll_forward: Vec<ModelMonth>,
    /// Change of every owner × stage × category between the periods compared, largest first.
    pub movers: Vec<Mover>,
}

/// Where an amount ended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// Id of the model.
    Model(String),
    /// Paid for and used by nobody.
    Idle,
    /// No rule found an owner.
    Unallocated,
}

/// One leaf of the cost tables.
#[derive(Debug, Clone)]
pub struct CostLine {
    pub target: Target,
    pub model_version: Option<String>,
    /// development, training, deployment, operations or upgrade.
    pub stage: Option<String>,
    /// compute, storage, network, licence, labour, operations or other.
    pub category: String,
    /// Why it is unallocated.
    pub reason: Option<String>,
    /// `BilledCost`, usage basis.
    pub usage_billed: Money,
    /// `EffectiveCost`, usage basis.
    pub usage_effective: Money,
    /// `BilledCost`, allocation basis.
    pub allocation_billed: Money,
    /// `EffectiveCost`, allocation basis.
    pub allocation_effective: Money,
}

/// What a day cost, by target.
#[derive(Debug, Clone)]
pub struct DayCost {
    pub day: NaiveDate,
    pub target: Target,
    /// `EffectiveCost`, usage basis.
    pub usage_effective: Money,
    /// `EffectiveCost`, allocation basis.
    pub allocation_effective: Money,
}

/// What was served, what came of it and what it cost.
#[derive(Debug, Clone)]
pub struct UnitCost {
    pub day: NaiveDate,
    pub model_id: String,
    pub model_version: Option<String>,
    /// Where on the site: home, product, cart, email, …
    pub surface: Option<String>,
    /// Recommendations shown.
    pub served: u64,
    /// Responses.
    pub requests: u64,
    /// Recommendations clicked.
    pub clicks: u64,
    /// Purchases credited to them.
    pub purchases: u64,
    /// Recommendations bought, however often.
    pub conversions: u64,
    /// Responses of which something was clicked.
    pub clicked_requests: u64,
    /// Responses of which something was bought.
    pub converted_requests: u64,
    /// Price × quantity of those purchases, in this currency.
    pub revenue: Option<Money>,
    /// What is left of it after the items' unit cost, where that is known.
    pub margin: Option<Money>,
    /// Revenue of which the margin is known.
    pub margin_revenue: Option<Money>,
    /// Deployment and operations, usage basis, without tax.
    pub run_cost: Money,
    /// Tax on running, and the share of idle.
    pub overhead_cost: Money,
    /// What is recognised of the cost to make the version.
    pub making_cost: Money,
    /// The sum of the three.
    pub full_cost: Money,
}

/// What a version cost to make up to the end of the report, and what became of it: `EffectiveCost`, allocation basis.
/// `incurred + transferred − recognised − written_off = closing`, exactly.
#[derive(Debug, Clone)]
pub struct VersionCost {
    pub model_id: String,
    /// `None` is the model's line for what names no version.
    pub model_version: Option<String>,
    /// Day of its first cost.
    pub first_cost: Option<NaiveDate>,
    pub first_served: Option<NaiveDate>,
    pub last_served: Option<NaiveDate>,
    /// Recommendations shown; 0 is a version that never shipped.
    pub served: u64,
    /// Development, training and upgrade.
    pub incurred: Money,
    /// From the line without a version to the version that went into service.
    pub transferred: Money,
    pub recognised: Money,
    pub written_off: Money,
    /// Not recognised yet.
    pub closing: Money,
    /// Units of its service life that are left.
    pub life_left: u64,
    /// days or recommendations.
    pub life_unit: String,
    /// The policy of its service life, in words.
    pub policy: String,
}

/// A month of the cost to make a model's versions: the closing of the month before `+ incurred + transferred −
/// recognised − written_off = closing`, exactly.
#[derive(Debug, Clone)]
pub struct ModelMonth {
    pub model_id: String,
    /// Such as `2026-10`.
    pub month: String,
    pub incurred: Money,
    pub transferred: Money,
    pub recognised: Money,
    pub written_off: Money,
    pub closing: Money,
}

/// All currencies in one.
#[derive(Debug, Clone)]
pub struct Converted {
    /// The reporting currency.
    pub currency: Currency,
    /// One row per line × original currency × owner.
    pub lines: Vec<ConvertedLine>,
    /// The rates that were taken.
    pub rates: Vec<Rate>,
}

/// What a line of `converted_costs` holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConvertedKind {
    Cost,
    /// The bill at the closing rate, less the costs at the rates of their days.
    ExchangeDifference,
    /// What later bills changed in closed periods; beside the bill.
    Restatement,
}

/// Costs of an owner that were converted from one currency. Amounts are in the order of the report's measures.
#[derive(Debug, Clone)]
pub struct ConvertedLine {
    pub kind: ConvertedKind,
    /// ISO 4217 code of the original amounts.
    pub from: String,
    /// `None` for the exchange difference.
    pub target: Option<Target>,
    /// In the currency they come from.
    pub original: [Money; 4],
    /// In the reporting currency.
    pub amounts: [Money; 4],
}

/// An exchange rate, and the days that took it.
#[derive(Debug, Clone)]
pub struct Rate {
    /// ISO 4217 code.
    pub from: String,
    pub rate_id: String,
    /// What one unit of `from` is worth in the reporting currency.
    pub rate: Money,
    pub first_day: NaiveDate,
    pub last_day: NaiveDate,
    /// Amounts that were converted at it.
    pub rows: u64,
}

/// A sum of the bills held against another by a rule of the FOCUS specification.
#[derive(Debug, Clone)]
pub struct Conformance {
    pub rule: String,
    /// The invoice, commitment or charge that it is about.
    pub subject: String,
    pub issuer: Option<String>,
    /// ISO 4217 code of the amounts, or `ratio`.
    pub unit: String,
    /// Charges looked at.
    pub rows: u64,
    /// What it should be.
    pub stated: Money,
    /// What the charges add up to.
    pub found: Money,
    /// Stated less found.
    pub difference: Money,
    /// By how much they may differ.
    pub tolerance: Money,
    pub holds: bool,
}

/// How the bill was split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// What was used; idle is a line of its own.
    Usage,
    /// Idle moved on to those who used the machine.
    Allocation,
}

/// Line of the reconciliation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// All active rows of the bill.
    Bill,
    Attributed,
    Idle,
    Unallocated,
    /// Bill less the three above: zero in a published run.
    Difference,
    /// What came later for closed periods, booked in this one; beside the bill, not part of it.
    Restated,
    /// Rejected charges; beside the bill, not part of it.
    Quarantined,
    /// What reading amounts at scale 18 took away; beside the bill.
    IngestRounding,
}

/// One line of the proof that the report ties to the bill.
#[derive(Debug, Clone)]
pub struct ReconciliationLine {
    /// Billing period, such as `2026-11`.
    pub period: String,
    /// Who sent the bill.
    pub issuer: String,
    pub basis: Basis,
    pub line: Line,
    /// Rows behind the line.
    pub rows: u64,
    /// `BilledCost`; `None` where a quarantined amount cannot be read.
    pub billed: Option<Money>,
    /// `EffectiveCost`; `None` where a quarantined amount cannot be read.
    pub effective: Option<Money>,
    /// On [`Line::IngestRounding`]: digits past 18 places, of `BilledCost`.
    pub billed_rounding: Option<Residue>,
    /// On [`Line::IngestRounding`]: digits past 18 places, of `EffectiveCost`.
    pub effective_rounding: Option<Residue>,
}

/// A kind of charge whose effective cost is not what was billed.
#[derive(Debug, Clone)]
pub struct BridgeLine {
    /// The kind, in words.
    pub what: String,
    /// Bill rows behind it.
    pub rows: u64,
    /// `BilledCost`.
    pub billed: Money,
    /// `EffectiveCost`.
    pub effective: Money,
}

/// An idle or unallocated resource, or the resources of a service and account.
#[derive(Debug, Clone)]
pub struct ResourceCost {
    /// [`Target::Idle`] or [`Target::Unallocated`].
    pub target: Target,
    pub resource_id: Option<String>,
    pub service: Option<String>,
    /// The account, where several resources are together.
    pub account: Option<String>,
    /// How many resources they are.
    pub resources: u64,
    /// Why it is unallocated.
    pub reason: Option<String>,
    /// Bill rows behind it.
    pub rows: u64,
    /// `BilledCost`, usage basis.
    pub billed: Money,
    /// `EffectiveCost`, usage basis.
    pub effective: Money,
}

/// What of a machine's cost was used: `EffectiveCost`, usage basis.
#[derive(Debug, Clone)]
pub struct Machine {
    /// `None` where several share the row.
    pub resource_id: Option<String>,
    /// Machines behind the row.
    pub machines: u64,
    /// Bill rows behind it.
    pub rows: u64,
    /// What went to models.
    pub used: Money,
    pub idle: Money,
    pub unallocated: Money,
}

/// What a later bill changed for one owner in a closed period. Amounts are in the order of the
/// report's measures: effective on the usage and the allocation basis, then billed likewise.
#[derive(Debug, Clone)]
pub struct Restatement {
    /// The closed billing period.
    pub period: String,
    /// The billing period in which it is booked.
    pub booked: String,
    pub target: Target,
    pub model_version: Option<String>,
    pub stage: Option<String>,
    pub category: String,
    /// What the period stood at before.
    pub before: [Money; 4],
    /// The difference that is booked.
    pub change: [Money; 4],
}

/// How the cost of an owner in a stage and category changed from one billing period to the next, and why:
/// `before + bill + share + appeared + ended = after`, exactly. `EffectiveCost`, usage basis.
#[derive(Debug, Clone)]
pub struct Mover {
    pub target: Target,
    pub stage: Option<String>,
    pub category: String,
    pub before: Money,
    pub after: Money,
    /// What the bills of the resources behind it changed by, at its share of before.
    pub bill: Money,
    /// What its share of those bills changed by.
    pub share: Money,
    /// Resources that were not on the bill before.
    pub appeared: Money,
    /// Resources that are no longer on it; never above zero but for credits.
    pub ended: Money,
}

/// What the run thinks of a model version.
#[derive(Debug, Clone)]
pub struct ModelVerdict {
    pub model_id: String,
    pub model_version: String,
    pub family: String,
    /// `None` when it was not evaluated.
    pub beats_baseline: Option<bool>,
}

/// One measured quality.
#[derive(Debug, Clone)]
pub struct QualityMetric {
    pub model_id: String,
    pub model_version: String,
    /// Whether this is the popularity baseline.
    pub is_baseline: bool,
    /// As in the table `evaluation`.
    pub metric: String,
    /// Length of the list that is judged; 0 for the whole ranking.
    pub k: u32,
    /// Mean over users (coverage and gini: over the catalogue).
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub low: Option<f64>,
    /// Upper end of the 95 % interval.
    pub high: Option<f64>,
    /// Users judged.
    pub users: u64,
    /// How the test was held out.
    pub protocol: String,
}

/// What a model of the newest night is worth, and what it costs on one basis in one currency.
#[derive(Debug, Clone)]
pub struct FrontierPoint {
    pub model_id: String,
    pub model_version: String,
    pub family: String,
    /// Length of its vectors, where it has some.
    pub dim: Option<u64>,
    /// The model that it was made from.
    pub made_from: Option<String>,
    /// JSON: how it was made from it.
    pub compression: Option<String>,
    /// Vectors or other parameters, without ids.
    pub bytes: u64,
    /// Of 1,000 users.
    pub scoring_seconds: Option<f64>,
    /// served or written.
    pub basis: String,
    /// Length of the list that is judged.
    pub k: Option<u64>,
    /// Value and ends of its 95 % interval.
    pub recall: Option<f64>,
    pub recall_low: Option<f64>,
    pub recall_high: Option<f64>,
    pub ndcg: Option<f64>,
    pub ndcg_low: Option<f64>,
    pub ndcg_high: Option<f64>,
    /// `None` where no bill names the model yet.
    pub currency: Option<String>,
    /// First day or version that the cost is of.
    pub cost_from: Option<String>,
    /// Last day or version.
    pub cost_to: Option<String>,
    pub own_cost: Option<Money>,
    /// What making the model that it was made from cost.
    pub parent_cost: Option<Money>,
    /// The numerator: the sum of both.
    pub cost: Option<Money>,
    /// The denominator.
    pub recommendations: Option<u64>,
    pub cost_per_1000: Option<Money>,
    /// A model that costs no more and is no worse; `None` on the frontier.
    pub dominated_by: Option<String>,
    /// Whether that model's recall is another on the same users, by its paired interval.
    pub recall_differs: Option<bool>,
}

/// A model's metric less another's on the same users.
#[derive(Debug, Clone)]
pub struct QualityPair {
    pub model_id: String,
    pub other_id: String,
    pub metric: String,
    /// Length of the list that is judged; 0 for the whole ranking.
    pub k: u32,
    pub difference: f64,
    /// Lower end of the 95 % interval.
    pub low: f64,
    /// Upper end of the 95 % interval.
    pub high: f64,
    /// Whether 0 lies outside of the interval.
    pub differs: bool,
    /// Users judged.
    pub users: u64,
}

/// Rows of one source.
#[derive(Debug, Clone)]
pub struct SourceRows {
    pub source: String,
    /// Table that it feeds.
    pub kind: String,
    pub files: u64,
    pub rows_in: u64,
    pub rows_out: u64,
    /// Left out by the mapping, or of other intervals.
    pub rows_skipped: u64,
    pub rows_duplicate: u64,
    /// Of the rows out: events that happened before the day of their export.
    pub rows_late: u64,
    pub rows_quarantined: u64,
}

/// Rejected rows of one kind.
#[derive(Debug, Clone)]
pub struct QuarantineGroup {
    pub source: String,
    pub column: String,
    pub reason: String,
    pub rows: u64,
    /// File and row of one of them, such as `events.csv, row 17`.
    pub example: String,
}

/// A stage of the run.
#[derive(Debug, Clone)]
pub struct StageRun {
    pub stage: String,
    /// started, done or failed.
    pub status: String,
    pub seconds: Option<f64>,
    /// Rows written.
    pub rows: Option<u64>,
    /// Peak resident memory of the process so far, in bytes.
    pub peak_rss_bytes: Option<u64>,
    /// Device that computed.
    pub device: Option<String>,
    pub message: Option<String>,
}
