//! The report's words, explained.

use super::section;
use std::fmt::Write as _;

const WORDS: &[(&str, &str)] = &[
    (
        "Billed",
        "What the invoices of the period say. It ties to accounts payable. A three-year commitment paid today is billed today.",
    ),
    (
        "Effective",
        "Cost as incurred. The same commitment is spread over the usage that it covers. This is what a model costs; billed and effective are never added.",
    ),
    (
        "Usage basis",
        "Each model pays for what it used. Capacity that was paid for and not used is idle, a line of its own.",
    ),
    (
        "Allocation basis",
        "Idle moved on to those who used the same machine, in proportion to their use. What nobody used stays idle.",
    ),
    ("Idle", "Capacity that was paid for while nobody used it."),
    (
        "Unallocated",
        "Cost for which no rule finds a model, with the reason. It is never dropped, and never spread to make a total look complete.",
    ),
    (
        "Stage",
        "What the cost was for: development, training, deployment (serving), operations or upgrade.",
    ),
    (
        "Category",
        "What was bought: compute, storage, network, licence, labour, operations or other.",
    ),
    (
        "Recommendation served",
        "One item shown to one user in one response. Repeats of the same response are not counted again.",
    ),
    (
        "Request",
        "The response in which recommendations were shown.",
    ),
    (
        "Run cost",
        "Deployment and operations of a model, usage basis, without tax: what serving it costs.",
    ),
    (
        "Full cost",
        "Run cost, overhead (tax on running and the share of idle) and what is recognised on the day of the cost to make the version.",
    ),
    (
        "Cost to make",
        "Development, training and upgrade of a version: effective, allocation basis, with their tax and share of idle.",
    ),
    (
        "Recognised",
        "The part of the cost to make that falls on a day of the version's service life, or on a recommendation served. The rest is carried forward as closing.",
    ),
    (
        "Written off",
        "What a version still held when it was retired: a loss of the model, and no cost of any recommendation.",
    ),
    (
        "Conversion",
        "A recommendation that was bought, however often. In the comparison side by side it is a request of which something was bought.",
    ),
    (
        "Margin",
        "(Price − unit cost) × quantity of what was bought, where the catalogue has the unit cost.",
    ),
    (
        "Per 1,000",
        "Cost × 1,000 ÷ recommendations served. n/a where nothing was served: a ratio without a denominator is not zero.",
    ),
    (
        "Restatement",
        "What a later bill changes in a closed period. It is booked in the open one; the closed one stays as it was reported.",
    ),
    (
        "Exchange difference",
        "What the bill of a currency is worth at the rate of the closing day, less its costs at the rates of their days.",
    ),
    (
        "Reconciliation",
        "Bill − attributed − idle − unallocated = difference. The difference is exactly 0, or the run publishes nothing.",
    ),
    (
        "Rejected (quarantined)",
        "A row that could not be read. A rejected charge is listed beside the bill, so the report never looks complete when it is not.",
    ),
    (
        "Late",
        "An event that happened before the day of the export that brought it.",
    ),
    (
        "recall@k",
        "Of the items that a user chose on the held-out days, the share that was among the model's first k.",
    ),
    (
        "Baseline",
        "Showing everyone the most popular items. A model has to beat it to be worth its cost.",
    ),
    (
        "95 % interval",
        "Where the value would lie in 95 of 100 repetitions with other users of the same kind. Two intervals that overlap much say little about which is better.",
    ),
];

/// The section.
pub fn html() -> String {
    let mut body = String::from("<dl class=\"glossary\">");
    for (word, meaning) in WORDS {
        let _ = write!(body, "<div><dt>{word}</dt><dd>{meaning}</dd></div>");
    }
    body.push_str("</dl>\n");
    section(
        "words",
        "Words",
        "What the words in this report mean.",
        &body,
    )
}
