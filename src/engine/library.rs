//! The SQL files: those inside the binary, and those of the user's project, which go before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Engine;
use crate::error::{Error, Result, nearest};

/// Declares the files below `sql/` that ship inside the binary.
macro_rules! shipped {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../sql/", $path)))),+]
    };
}

/// Path below `sql/` and text of each file inside the binary.
pub const SHIPPED: &[(&str, &str)] = shipped![
    "attribution/converted_costs.sql",
    "attribution/drivers/bytes.sql",
    "attribution/drivers/cpu_ns.sql",
    "attribution/drivers/gpu_ns.sql",
    "attribution/drivers/requests.sql",
    "attribution/drivers/run_time.sql",
    "attribution/drivers/runs.sql",
    "attribution/drivers/served.sql",
    "attribution/frontier.sql",
    "attribution/impressions.sql",
    "attribution/largest_allocations.sql",
    "attribution/lines.sql",
    "attribution/making_costs.sql",
    "attribution/model_costs.sql",
    "attribution/model_days.sql",
    "attribution/rates.sql",
    "attribution/outcome_candidates.sql",
    "attribution/reconciliation.sql",
    "attribution/restatements.sql",
    "attribution/served.sql",
    "attribution/snapshot_hashes.sql",
    "attribution/snapshots.sql",
    "attribution/stale_days.sql",
    "attribution/unit_costs.sql",
    "checks/allocation_has_lineage.sql",
    "checks/allocation_keeps_its_currency.sql",
    "checks/allocation_days_add_up.sql",
    "checks/charge_is_split_exactly.sql",
    "checks/closed_period_is_unchanged.sql",
    "checks/conversion_is_exact.sql",
    "checks/delivery_is_complete.sql",
    "checks/period_is_reconciled.sql",
    "checks/recommendations_add_up_to_model_day.sql",
    "checks/restatements_lead_to_today.sql",
    "checks/version_ledger_closes.sql",
    "checks/version_ledger_has_all_costs.sql",
    "checks/views_of_cost_agree.sql",
    "compare/costs.sql",
    "compare/counts.sql",
    "conformance/commitment_is_used_in_its_term.sql",
    "conformance/commitment_is_used_up.sql",
    "conformance/commitment_keeps_its_cost.sql",
    "conformance/invoice_ties_to_charges.sql",
    "conformance/split_is_whole.sql",
    "exports/focus_1_4.sql",
    "explain/changes.sql",
    "explain/charges.sql",
    "explain/model_changes.sql",
    "explain/model_charges.sql",
    "explain/model_day.sql",
    "explain/model_restatements.sql",
    "explain/model_totals.sql",
    "explain/outcomes.sql",
    "explain/parts.sql",
    "explain/recommendation_shares.sql",
    "explain/recommendations.sql",
    "explain/service_life.sql",
    "explain/service_life_days.sql",
    "content/items.sql",
    "content/users.sql",
    "features/interactions.sql",
    "features/item_features.sql",
    "features/item_price_counts.sql",
    "features/item_price_places.sql",
    "features/night_inputs.sql",
    "features/price_counts.sql",
    "features/price_places.sql",
    "features/seen_prices.sql",
    "features/sessions.sql",
    "features/user_counts.sql",
    "features/user_features.sql",
    "reports/bridge.sql",
    "reports/closes.sql",
    "reports/conformance.sql",
    "reports/converted.sql",
    "reports/costs.sql",
    "reports/days.sql",
    "reports/frontier.sql",
    "reports/machines.sql",
    "reports/movers.sql",
    "reports/pairs.sql",
    "reports/quality.sql",
    "reports/quarantine.sql",
    "reports/rates.sql",
    "reports/reconciliation.sql",
    "reports/resources.sql",
    "reports/restatements.sql",
    "reports/roll_forward.sql",
    "reports/services.sql",
    "reports/sources.sql",
    "reports/stages.sql",
    "reports/units.sql",
    "reports/versions.sql",
    "sources/charges/aws_cur2.sql",
    "sources/charges/azure_actual.sql",
    "sources/charges/azure_amortized.sql",
    "sources/charges/fixed_assets.sql",
    "sources/charges/focus.sql",
    "sources/charges/gcp_detailed.sql",
    "sources/charges/timesheet.sql",
    "sources/commitments/focus.sql",
    "sources/events/recost.sql",
    "sources/exchange_rates/recost.sql",
    "sources/invoices/focus.sql",
    "sources/items/recost.sql",
    "sources/usage/recost.sql",
    "sources/users/recost.sql",
    "tune/machine_price.sql",
];

/// All SQL files by their path below `sql/`.
#[derive(Debug, Clone)]
pub struct Library {
    files: BTreeMap<String, File>,
}

#[derive(Debug, Clone)]
struct File {
    text: String,
    /// Where it lies, for files of the user's project.
    own: Option<PathBuf>,
}

impl Library {
    /// The shipped files, each replaced by the file of the same path in `project` where there is one, and the project's
    /// own beside them.
    ///
    /// # Errors
    /// `Kind::Config` when a file of the project cannot be read.
    pub fn load(project: &Path) -> Result<Self> {
        let mut files: BTreeMap<String, File> = SHIPPED
            .iter()
            .map(|(path, text)| {
                let file = File {
                    text: (*text).to_string(),
                    own: None,
                };
                ((*path).to_string(), file)
            })
            .collect();
        let mut folders = vec![project.to_path_buf()];
        let home = project.canonicalize().unwrap_or_default();
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.flatten() {
                let path = entry.path();
                if !lies_below(&path, &home) {
                    return Err(Error::config(format!(
                        "{} leads out of the folder {}",
                        path.display(),
                        project.display()
                    ))
                    .help("put the file itself there"));
                }
                // A link to a folder has nothing that is not found where it leads, and may lead round in a circle.
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else if path.extension().is_some_and(|e| e == "sql")
                    && let Ok(below) = path.strip_prefix(project)
                {
                    let text = std::fs::read_to_string(&path)
                        .map_err(|e| Error::io("cannot read", &path, &e))?;
                    let key = below.to_string_lossy().replace('\\', "/");
                    files.insert(
                        key,
                        File {
                            text,
                            own: Some(path),
                        },
                    );
                }
            }
        }
        Ok(Library { files })
    }

    /// The text of the file at `path` (below `sql/`).
    ///
    /// # Errors
    /// `Kind::Config`, naming the nearest file, when there is none.
    pub fn get(&self, path: &str) -> Result<&str> {
        match self.files.get(path) {
            Some(file) => Ok(&file.text),
            None => {
                let error = Error::config(format!("there is no SQL file {path}"));
                Err(match nearest(path, self.files.keys().map(String::as_str)) {
                    Some(near) => error.help(format!(
                        "did you mean {near}? A file of your own goes under the project's sql folder"
                    )),
                    None => error.help("put it under the project's sql folder"),
                })
            }
        }
    }

    /// Name (without folder and ending) and text of the files right in `folder`, sorted by name.
    pub fn folder<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.files.iter().filter_map(move |(path, file)| {
            let name = path
                .strip_prefix(folder)?
                .strip_prefix('/')?
                .strip_suffix(".sql")?;
            (!name.contains('/')).then_some((name, file.text.as_str()))
        })
    }

    /// Path below `sql/` and text of every file, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.files.iter();
        files.map(|(path, file)| (path.as_str(), file.text.as_str()))
    }

    /// Whether the file at `path` is of the user's project.
    pub fn is_own(&self, path: &str) -> bool {
        self.files.get(path).is_some_and(|file| file.own.is_some())
    }

    /// Where the file at `path` lies, for messages: the project's own path, or the shipped one.
    pub fn describe(&self, path: &str) -> String {
        match self.files.get(path).and_then(|f| f.own.as_ref()) {
            Some(own) => own.display().to_string(),
            None => format!("sql/{path}"),
        }
    }

    /// The files of `folder` in an order in which each comes after the tables that it reads, found from their queries.
    ///
    /// # Errors
    /// `Kind::Config`, naming the files, when they read each other in a circle or do not parse.
    pub fn ordered<'a>(
        &'a self,
        engine: &Engine,
        folder: &'a str,
    ) -> Result<Vec<(&'a str, &'a str)>> {
        let files: BTreeMap<&str, &str> = self.folder(folder).collect();
        let mut waiting: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (name, text) in &files {
            let inputs = engine
                .inputs(text)
                .map_err(|e| e.context(self.describe(&format!("{folder}/{name}.sql"))))?;
            let inputs = inputs
                .into_iter()
                .filter(|i| files.contains_key(i.as_str()) && i != name)
                .collect();
            waiting.insert(name, inputs);
        }
        let mut order = vec![];
        while !waiting.is_empty() {
            let Some(next) = waiting
                .iter()
                .find(|(_, inputs)| inputs.iter().all(|i| !waiting.contains_key(i.as_str())))
                .map(|(name, _)| *name)
            else {
                let circle: Vec<&str> = waiting.keys().copied().collect();
                return Err(Error::config(format!(
                    "these files of sql/{folder} read each other in a circle: {}",
                    circle.join(", ")
                )));
            };
            waiting.remove(next);
            order.push((next, files[next]));
        }
        Ok(order)
    }
}

/// Whether a path, links followed, leads to a place below `home`. One that leads nowhere is told of when it is read.
fn lies_below(path: &Path, home: &Path) -> bool {
    path.canonicalize()
        .map_or(true, |real| real.starts_with(home))
}
