//! Takes out of the staged tables what a newer delivery replaces.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::deliveries::Row;
use crate::config::SourceKind;
use crate::disk::{make_dir, remove_file};
use crate::error::{Error, Result};

/// Takes out of the tables what an earlier delivery brought. Charges are kept, in `superseded_charges`, unless the same files
/// bring them again (`again`); those of closed billing periods stay where they are.
pub(super) fn take_out(
    snapshot: &Path,
    before: &Row,
    closed: &BTreeSet<String>,
    again: bool,
) -> Result<()> {
    let prefix = format!("{}.", before.stem());
    let charges = before.kind == SourceKind::Charges.table();
    let tables: &[&str] = if charges {
        &["charges", "late_charges", "quarantine"]
    } else {
        &[&before.kind, "quarantine"]
    };
    for name in tables {
        for path in files_below(&snapshot.join(name)) {
            let Some(file) = path.file_name().map(|n| n.to_string_lossy().into_owned()) else {
                continue;
            };
            if !file.starts_with(&prefix) {
                continue;
            }
            let partition = path.parent().and_then(Path::file_name).unwrap_or_default();
            let period = partition.to_string_lossy();
            let period = period.strip_prefix("billing_period=").unwrap_or_default();
            if *name == "charges" && closed.contains(period) {
                continue;
            }
            if charges && !again && *name != "quarantine" {
                let dir = snapshot.join("superseded_charges").join(partition);
                make_dir(&dir)?;
                let kept = dir.join(format!("{}.{file}", before.delivery_id));
                std::fs::rename(&path, &kept).map_err(|e| Error::io("cannot move", &path, &e))?;
            } else {
                remove_file(&path)?;
            }
        }
    }
    Ok(())
}

/// Removes from `superseded_charges` what a delivery that counts again brought before.
pub(super) fn take_back(snapshot: &Path, delivery_id: &str) -> Result<()> {
    let prefix = format!("{delivery_id}.");
    for path in files_below(&snapshot.join("superseded_charges")) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with(&prefix) {
            remove_file(&path)?;
        }
    }
    Ok(())
}

/// The files in a folder and the folders below it; none where there is no such folder.
fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for path in entries.flatten().map(|e| e.path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}
