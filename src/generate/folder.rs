//! The output folder: claimed once, told apart from other people's folders by a marker file.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::error::GenerateError;
use super::spec::Spec;

/// The file that says that a folder is the generator's to replace.
const MARKER: &str = ".recost-generate.json";
const PARTS: [&str; 8] = [
    "events", "items", "users", "usage", "billing", "ledger", "restated", "truth",
];

/// Makes `spec.out` an empty folder of ours. What an earlier call wrote is removed, and nothing else.
pub(super) fn claim(spec: &Spec) -> Result<(), GenerateError> {
    let out = spec.out.as_path();
    let marker = out.join(MARKER);
    if out.exists() && !marker.is_file() {
        let mut entries =
            fs::read_dir(out).map_err(|e| GenerateError::io("read the folder", out, e))?;
        if entries.next().is_some() {
            return Err(GenerateError::NotOurs(out.to_path_buf()));
        }
    }
    for part in PARTS {
        let folder = out.join(part);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(|e| GenerateError::io("remove", &folder, e))?;
        }
    }
    fs::create_dir_all(out).map_err(|e| GenerateError::io("create the folder", out, e))?;
    // Written first, so that what a crash leaves behind can be replaced by the next call.
    mark(spec, false)
}

/// Marks the folder as complete; files and bytes in it.
pub(super) fn finish(spec: &Spec) -> Result<(u64, u64), GenerateError> {
    mark(spec, true)?;
    let mut sums = (0, 0);
    for part in PARTS {
        count(&spec.out.join(part), &mut sums)?;
    }
    Ok(sums)
}

fn mark(spec: &Spec, complete: bool) -> Result<(), GenerateError> {
    let marker = spec.out.join(MARKER);
    let text = json!({ "generator": "recost generate", "version": env!("CARGO_PKG_VERSION"), "complete": complete, "spec": spec });
    fs::write(&marker, format!("{text:#}\n")).map_err(|e| GenerateError::io("write", &marker, e))
}

fn count(folder: &Path, sums: &mut (u64, u64)) -> Result<(), GenerateError> {
    let error = |e| GenerateError::io("read the folder", folder, e);
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let metadata = entry.metadata().map_err(error)?;
        if metadata.is_dir() {
            count(&entry.path(), sums)?;
        } else {
            *sums = (sums.0 + 1, sums.1 + metadata.len());
        }
    }
    Ok(())
}
