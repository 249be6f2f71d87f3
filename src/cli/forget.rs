//! `recost forget` and `recost pseudonym`: people by the ids that the shop knows them by.

use std::io::Read;
use std::path::PathBuf;

use super::load;
use super::print::{Printer, thousands};
use crate::error::{Error, Kind, Result};
use crate::privacy::forget::{self, Outcome};

/// Arguments of `recost forget`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The pipeline file.
    pipeline: PathBuf,
    /// The user, as the shop's exports name them; `-` reads ids from standard input, one a line, so that none is kept in
    /// the shell's history.
    user: String,
}

/// Arguments of `recost pseudonym`.
#[derive(Debug, clap::Args)]
pub struct Pseudonym {
    /// The pipeline file.
    pipeline: PathBuf,
}

/// Lines of standard input that are not empty.
fn lines() -> Result<Vec<String>> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|e| Error::config(format!("standard input cannot be read: {e}")))?;
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    Ok(lines.map(str::to_string).collect())
}

/// Runs `recost forget`.
pub async fn run(args: &Args, printer: &mut Printer) -> Result<()> {
    let (pipeline, _) = load(&args.pipeline)?;
    let users = match args.user.as_str() {
        "-" => lines()?,
        user => vec![user.to_string()],
    };
    let outcome = forget::run(&pipeline, &users).await?;
    printer.result(&told(&outcome).join("\n"));
    if outcome.left().is_empty() {
        return Ok(());
    }
    let shown = outcome
        .left()
        .iter()
        .take(10)
        .map(|hit| format!("  {} × {} in {}", hit.count, hit.place, hit.file.display()));
    let shown: Vec<String> = shown.collect();
    Err(Error::new(
        Kind::Check,
        format!(
            "the search still finds them in {} files:\n{}",
            outcome.searched.found().len(),
            shown.join("\n")
        ),
    )
    .help("what a bill says is never changed: have it delivered without the id; remove other files, or give the command again when nothing reads or writes them"))
}

/// What was done, in lines.
fn told(outcome: &Outcome) -> Vec<String> {
    let erased = &outcome.erased;
    let mut lines = vec![match outcome.people {
        1 => "One person is forgotten".to_string(),
        n => format!("{} people are forgotten", thousands(n as u64)),
    }];
    for (table, rows) in erased.rows.iter().filter(|(_, rows)| *rows > 0) {
        lines.push(format!("removed  {:>9} rows of {table}", thousands(*rows)));
    }
    if erased.models > 0 {
        lines.push(format!(
            "cleared  {:>9} model files",
            thousands(erased.models as u64)
        ));
    }
    if erased.nobodys > 0 {
        lines.push(format!(
            "kept     {:>9} events that costs and counts rest on, as nobody's",
            thousands(erased.nobodys)
        ));
    }
    match &outcome.published {
        Some(path) => lines.push(format!("published {}", path.display())),
        None => lines.push("the published tables held nothing of them".into()),
    }
    for path in &outcome.snapshots {
        lines.push(format!(
            "removed the older snapshot {}: who still reads it loses it",
            path.display()
        ));
    }
    for path in &outcome.others {
        lines.push(format!("cleared {}", path.display()));
    }
    let s = &outcome.searched;
    let folders: Vec<String> = outcome
        .folders
        .iter()
        .map(|f| f.display().to_string())
        .collect();
    lines.push(String::new());
    lines.push(format!(
        "searched {}: {} files, {} texts of tables and models, {} MiB: {} hits",
        folders.join(" and "),
        thousands(s.files as u64),
        thousands(s.texts),
        thousands(s.bytes >> 20),
        thousands(s.hits.iter().map(|h| h.count as u64).sum())
    ));
    if outcome.indistinct > 0 {
        lines.push(format!(
            "{} ids are shorter than 6 characters: they were looked for where user ids stand, and cannot be told from other words in free text",
            outcome.indistinct
        ));
    }
    let (left, looked) = &outcome.exports;
    lines.push(format!(
        "not ours: {} of {} files of the exports hold them; so may copies, logs and what `recost report --out` and `recost export` wrote elsewhere",
        thousands(left.len() as u64),
        thousands(*looked as u64)
    ));
    lines.push(
        "models trained before keep what they learnt from them until they are trained anew".into(),
    );
    lines
}

/// Runs `recost pseudonym`: reads ids from standard input, one a line, and writes the pseudonym of each.
pub fn pseudonyms(args: &Pseudonym, printer: &mut Printer) -> Result<()> {
    let (pipeline, _) = load(&args.pipeline)?;
    let key = pipeline.privacy.current_key().ok_or_else(|| {
        Error::config(format!(
            "{}: `[privacy] pseudonymise` is not set, so ids have no pseudonyms",
            pipeline.file.display()
        ))
    })?;
    let pseudonyms: Vec<String> = lines()?.iter().map(|id| key.pseudonym(id)).collect();
    printer.result(&pseudonyms.join("\n"));
    Ok(())
}
