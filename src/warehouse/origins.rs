//! Where the columns come from that no query alone makes, for catalogues of lineage.
//!
//! What one SQL file gives is read off its plan, and what an export brings off the plan of its dialect. What is worked out in
//! the program is declared here, in terms of tables and of the SQL files that the work reads, whose own origins are followed
//! further: `served.rank` is the column `rank` of `sql/attribution/served.sql`. A folder with several files of one kind goes
//! by its name: `drivers`, `content`.

/// Where a column comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The column of the same name of that table or SQL file.
    Copied(&'static str),
    /// These columns of tables or SQL files, each as `table.column`.
    From(&'static [&'static str]),
    /// The same, and whichever columns of `charges` the rules of the pipeline look at.
    Ruled(&'static [&'static str]),
    /// From no column: from what, in words.
    Beside(&'static str),
}

/// All columns of a table.
const EVERY: &[&str] = &["*"];

/// Columns of a table that have the same origin.
pub type Columns = (&'static [&'static str], Origin);

use Origin::{Beside, Copied, From, Ruled};

const PIPELINE: Origin = Beside("the pipeline file");
const NIGHT: Origin = Beside("the night");
const CLOCK: Origin = Beside("the clock");
const ROWS: Origin = Beside("the number of rows");
const COUNTED: Origin = Beside("counted while the export was read");
const EXPORT: Origin = Beside("where the row lies in the export");
const CHECKED: Origin = Beside("the check that the row does not pass");
const REJECTED: Origin = Beside("the rejected row, as it was delivered");
const MANIFEST: Origin = Beside("the manifest of the delivery");
const SPLIT: Origin = Beside("the rule that split the charge");

/// What models are trained on.
const TRAINED: Origin = From(&[
    "interactions.user_id",
    "interactions.item_id",
    "interactions.weight",
    "content.feature",
    "content.weight",
]);
/// What models are judged by: interactions made anew from events, some of them held out.
const JUDGED: Origin = From(&[
    "events.user_id",
    "events.item_id",
    "events.event_type",
    "events.event_time",
]);
/// What says whose a charge is.
const WHOSE: Origin = Ruled(&[
    "lines.tags",
    "lines.allocated_tags",
    "lines.resource_id",
    "drivers.resource_id",
    "drivers.model_id",
]);
/// What a charge is split by.
const WEIGHTS: &[&str] = &["drivers.weight", "drivers.reserved", "drivers.capacity"];

const ALLOCATIONS: &[Columns] = &[
    (
        &["row_id", "issuer", "category", "charge_category"],
        Copied("lines"),
    ),
    (&["day"], From(&["lines.charge_period_start"])),
    (&["currency"], From(&["lines.billing_currency"])),
    (&["target", "model_id", "reason"], WHOSE),
    (
        &["model_version"],
        Ruled(&[
            "lines.tags",
            "lines.allocated_tags",
            "drivers.model_version",
        ]),
    ),
    (
        &["stage"],
        Ruled(&[
            "lines.tags",
            "lines.allocated_tags",
            "lines.stage",
            "drivers.stage",
        ]),
    ),
    (&["rule", "rule_version"], Ruled(&[])),
    (&["driver", "via"], SPLIT),
    (&["weight", "weight_total"], From(WEIGHTS)),
    (
        &["billed"],
        From(&[
            "lines.billed_cost",
            "drivers.weight",
            "drivers.reserved",
            "drivers.capacity",
        ]),
    ),
    (
        &["effective"],
        From(&[
            "lines.effective_cost",
            "drivers.weight",
            "drivers.reserved",
            "drivers.capacity",
        ]),
    ),
    (&["basis"], Beside("constant: each row is of one basis")),
];

/// What ingest adds to each row of a bill, an invoice or a list of commitments.
const FILLED: &[Columns] = &[
    (&["row_id"], Beside("hash of what the charge says")),
    (
        &["delivery_id"],
        Beside("hash of the files, the mapping and the source's settings"),
    ),
    (&["source"], PIPELINE),
    (&["file", "row", "part"], EXPORT),
    (
        &["billed_rounding"],
        Beside("what rounding took from the amount in billed_cost"),
    ),
    (
        &["effective_rounding"],
        Beside("what rounding took from the amount in effective_cost"),
    ),
];

/// The tables with columns that no query alone makes, each with those columns.
pub static ORIGINS: &[(&str, &[Columns])] = &[
    ("charges", FILLED),
    ("late_charges", FILLED),
    ("superseded_charges", &[(EVERY, Copied("charges"))]),
    (
        "usage",
        &[(EVERY, Beside("what the run itself used, measured"))],
    ),
    ("invoices", FILLED),
    ("commitments", FILLED),
    (
        "conformance",
        &[
            (&["rule"], Beside("name of the SQL file")),
            (&["rows"], ROWS),
        ],
    ),
    (
        "deliveries",
        &[
            (&["source", "kind"], PIPELINE),
            (
                &["interval", "name"],
                Beside("the paths of the export's files"),
            ),
            (
                &["status", "reason"],
                Beside("the manifest, held against what was read"),
            ),
            (&["partitions"], Beside("where its rows went")),
            (
                &["delivery_id", "content_hash"],
                Beside("hash of the export's files"),
            ),
            (&["received_at"], Beside("when the files were written")),
            (
                &[
                    "files",
                    "rows_in",
                    "rows_out",
                    "rows_skipped",
                    "rows_duplicate",
                    "rows_late",
                    "rows_quarantined",
                ],
                COUNTED,
            ),
            (&["late_days"], Beside("the days of its events")),
            (&["rows_stated"], MANIFEST),
            (&["columns"], Beside("the schema of the export's files")),
            (&["pseudonym_key"], Beside("the key in the environment")),
        ],
    ),
    (
        "delivery_sums",
        &[
            (&["source"], PIPELINE),
            (&["interval"], Beside("the paths of the export's files")),
            (&["delivery_id"], Beside("hash of the export's files")),
            (
                &["currency"],
                From(&["charges.billing_currency", "quarantine.currency"]),
            ),
            (&["rows", "rows_quarantined"], COUNTED),
            (&["billed"], From(&["charges.billed_cost"])),
            (&["effective"], From(&["charges.effective_cost"])),
            (&["quarantined_billed"], From(&["quarantine.billed"])),
            (&["quarantined_effective"], From(&["quarantine.effective"])),
            (&["stated_billed", "stated_effective"], MANIFEST),
        ],
    ),
    (
        "quarantine",
        &[
            (&["source", "kind"], PIPELINE),
            (&["interval", "file", "row"], EXPORT),
            (&["delivery_id"], Beside("hash of the export's files")),
            (&["column", "reason"], CHECKED),
            (
                &[
                    "raw",
                    "currency",
                    "raw_billed",
                    "raw_effective",
                    "billed",
                    "effective",
                ],
                REJECTED,
            ),
        ],
    ),
    ("sessions", &[(&["events"], ROWS)]),
    ("interactions", &[(&["events"], ROWS)]),
    (
        "user_features",
        &[
            (&["events"], ROWS),
            (&["sessions"], From(&["sessions.session_id"])),
        ],
    ),
    (
        "item_features",
        &[(&["users"], From(&["interactions.user_id"]))],
    ),
    (
        "night_inputs",
        &[(&["history_days", "lateness_days"], PIPELINE)],
    ),
    (
        "models",
        &[
            (
                &[
                    "model_id",
                    "family",
                    "hyperparameters",
                    "dim",
                    "made_from",
                    "compression",
                ],
                PIPELINE,
            ),
            (&["model_version", "trained_on"], NIGHT),
            (&["data_hash"], TRAINED),
            (&["users"], From(&["interactions.user_id"])),
            (&["items"], From(&["interactions.item_id"])),
            (&["interactions"], ROWS),
            (&["device"], Beside("the machine")),
            (
                &["bytes", "file", "file_hash"],
                Beside("the model file, computed by training"),
            ),
            (&["seconds", "scoring_seconds"], CLOCK),
            (&["scored_users"], From(&["recommendations.user_id"])),
            (&["recommendations"], ROWS),
            (&["started_from"], From(&["models.model_version"])),
            (&["agreement"], From(&["item_factors.factors"])),
            (&["content_trust"], TRAINED),
            (
                &["metrics"],
                From(&["evaluation.metric", "evaluation.k", "evaluation.value"]),
            ),
        ],
    ),
    (
        "user_factors",
        &[
            (&["model_id"], PIPELINE),
            (&["user_id"], Copied("interactions")),
            (&["factors"], TRAINED),
        ],
    ),
    (
        "item_factors",
        &[
            (&["model_id"], PIPELINE),
            (&["item_id"], Copied("interactions")),
            (&["factors"], TRAINED),
        ],
    ),
    (
        "item_neighbours",
        &[
            (&["model_id"], PIPELINE),
            (&["item_id"], Copied("interactions")),
            (&["neighbour_id"], From(&["interactions.item_id"])),
            (&["weight"], TRAINED),
        ],
    ),
    (
        "recommendations",
        &[
            (
                &["user_id"],
                From(&["interactions.user_id", "users.user_id"]),
            ),
            (&["item_id"], Copied("interactions")),
            (
                &["rank", "score"],
                From(&[
                    "user_factors.factors",
                    "item_factors.factors",
                    "item_neighbours.weight",
                    "interactions.weight",
                ]),
            ),
            (&["model_id", "model_version"], Copied("models")),
            (
                &["reason"],
                From(&["models.family", "interactions.user_id", "users.user_id"]),
            ),
            (
                &["because", "because_shares"],
                From(&[
                    "interactions.item_id",
                    "interactions.weight",
                    "user_factors.factors",
                    "item_factors.factors",
                    "item_neighbours.weight",
                    "content.feature",
                    "content.weight",
                ]),
            ),
        ],
    ),
    (
        "evaluation",
        &[
            (&["model_id", "model_version", "family"], Copied("models")),
            (&["metric", "k", "protocol"], PIPELINE),
            (&["value", "low", "high"], JUDGED),
            (&["users"], From(&["events.user_id"])),
        ],
    ),
    (
        "evaluation_pairs",
        &[
            (&["model_id", "model_version"], Copied("models")),
            (&["other_id"], From(&["models.model_id"])),
            (&["metric", "k"], PIPELINE),
            (&["difference", "low", "high", "differs"], JUDGED),
            (&["users"], From(&["events.user_id"])),
        ],
    ),
    (
        "trials",
        &[
            (
                &[
                    "model_id",
                    "family",
                    "rung",
                    "trial",
                    "settings",
                    "hyperparameters",
                    "passes",
                    "metric",
                ],
                PIPELINE,
            ),
            (
                &["search_id"],
                Beside("hash of the data and of the search's settings"),
            ),
            (&["value", "low", "high", "state"], JUDGED),
            (&["users"], From(&["events.user_id"])),
            (&["started_at", "seconds", "cpu_ns"], CLOCK),
        ],
    ),
    ("allocations", ALLOCATIONS),
    ("late_allocations", ALLOCATIONS),
    (
        "allocation_days",
        &[(&["parts"], ROWS), (EVERY, Copied("allocations"))],
    ),
    (
        "largest_allocations",
        &[(
            &["place"],
            From(&["allocations.effective", "allocations.billed"]),
        )],
    ),
    (
        "converted_costs",
        &[
            (&["line"], Beside("constant: each row is of one line")),
            (&["reporting_currency"], PIPELINE),
        ],
    ),
    (
        "served_days",
        &[
            (&["model_id", "model_version", "surface"], Copied("served")),
            (
                &["served"],
                From(&["served.model_id", "served.request_id", "served.item_id"]),
            ),
            (
                &["requests"],
                From(&["served.model_id", "served.request_id"]),
            ),
        ],
    ),
    (
        "version_ledger",
        &[
            (&["day"], From(&["making_costs.day", "served_days.ds"])),
            (
                &["model_id", "model_version", "currency"],
                Copied("making_costs"),
            ),
            (&["incurred"], From(&["making_costs.effective"])),
            (
                &[
                    "opening",
                    "transferred",
                    "recognised",
                    "written_off",
                    "closing",
                ],
                From(&["making_costs.effective", "served_days.served"]),
            ),
            (&["life_unit", "policy"], PIPELINE),
            (
                &["used", "life_before", "life_after"],
                From(&["served_days.served", "served_days.ds"]),
            ),
        ],
    ),
    (
        "recommendation_costs",
        &[
            (
                &[
                    "request_id",
                    "rank",
                    "item_id",
                    "model_id",
                    "model_version",
                    "surface",
                    "compute_ns",
                ],
                Copied("served"),
            ),
            (&["currency"], Copied("model_days")),
            (
                &["run_cost"],
                From(&["model_days.run_cost", "served.compute_ns"]),
            ),
            (
                &["making_cost"],
                From(&["model_days.making_cost", "served.compute_ns"]),
            ),
            (
                &["full_cost"],
                From(&["model_days.full_cost", "served.compute_ns"]),
            ),
        ],
    ),
    (
        "outcomes",
        &[
            (
                &[
                    "event_id",
                    "event_type",
                    "event_time",
                    "user_id",
                    "item_id",
                    "currency",
                    "revenue",
                    "margin",
                    "margin_revenue",
                ],
                Copied("outcome_candidates"),
            ),
            (
                &["request_id", "rank", "model_id", "model_version", "surface"],
                Copied("impressions"),
            ),
            (&["impression_time"], From(&["impressions.event_time"])),
            (
                &["credited_by"],
                From(&["outcome_candidates.request_id", "impressions.request_id"]),
            ),
        ],
    ),
    ("unit_costs", &[(&["served"], ROWS)]),
    (
        "frontier",
        &[(&["basis"], Beside("constant: each row is of one basis"))],
    ),
    (
        "reconciliation",
        &[(
            &["basis", "line"],
            Beside("constant: each row is of one basis and one line"),
        )],
    ),
    (
        "closes",
        &[
            (&["billing_period"], Beside("the command line")),
            (&["closed_at", "run_id"], CLOCK),
            (&["charges"], ROWS),
            (&["hash"], From(&["snapshot_hashes.hash"])),
        ],
    ),
];

/// The declared origin of a column, where there is one.
pub fn origin(table: &str, column: &str) -> Option<Origin> {
    let (_, columns) = ORIGINS.iter().find(|(name, _)| *name == table)?;
    let of = columns
        .iter()
        .find(|(names, _)| *names == EVERY || names.contains(&column));
    of.map(|(_, origin)| *origin)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warehouse::table;

    #[test]
    fn each_declared_column_is_one_of_its_table_and_declared_once() {
        for (name, columns) in ORIGINS {
            let of = table(name).expect(name);
            let mut seen = std::collections::BTreeSet::new();
            for column in columns.iter().flat_map(|(names, _)| *names) {
                // Not every table that ingest fills has all that it fills.
                let some = *columns == FILLED || *column == EVERY[0];
                assert!(of.column(column).is_some() || some, "{name}.{column}");
                assert!(seen.insert(column), "{name}.{column} is declared twice");
            }
        }
    }
}
