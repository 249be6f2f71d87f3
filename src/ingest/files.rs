//! From a source's path pattern to the files of each interval, and a hash that says whether they changed.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Utc};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use sha2::{Digest, Sha256};

use super::manifest::Manifest;
use crate::config::source::{Export, Interval, Source};
use crate::engine::hex;
use crate::error::{Error, Kind, Result};

/// One interval of one source, as it was delivered.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Day `YYYY-MM-DD`, billing period `YYYY-MM`, or `whole`.
    pub interval: String,
    /// First day of the interval; the run's own day for `whole`.
    pub day: NaiveDate,
    /// The files, sorted by path.
    pub files: Vec<InputFile>,
    /// The file or manifest that it is known by, of an export whose deliveries add up; empty otherwise.
    pub name: String,
    /// What its manifest says.
    pub manifest: Option<Manifest>,
    /// Why it is not complete, as far as its manifest and the names of its files show.
    pub lacking: Option<String>,
}

impl Delivery {
    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(InputFile::bytes).sum()
    }

    /// Where its files lie, for messages.
    pub fn shown(&self) -> String {
        let paths: Vec<_> = self
            .files
            .iter()
            .map(|f| f.path.display().to_string())
            .collect();
        paths.join(", ")
    }

    /// When the newest of its files was written.
    pub fn received_at(&self) -> Option<DateTime<Utc>> {
        self.files.iter().map(|f| f.stamp.1.into()).max()
    }
}

/// A file as it was when it was found.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// Where it lies.
    pub path: PathBuf,
    /// Its path from the first folder that the pattern leaves open, for messages and the quarantine.
    pub name: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    stamp: (u64, SystemTime),
}

impl InputFile {
    /// Finds a file below `root` and hashes it.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn open(path: PathBuf, root: &Path) -> Result<Self> {
        let stamp = stamp(&path)?;
        let sha256 = sha256(&path)?;
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .to_string_lossy()
            .into_owned();
        Ok(InputFile {
            path,
            name,
            sha256,
            stamp,
        })
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        self.stamp.0
    }

    /// Fails when the file is not the one that was hashed.
    ///
    /// # Errors
    /// `Kind::Io`: the exporter is still writing; the next run will see it whole.
    pub fn check_unchanged(&self) -> Result<()> {
        if stamp(&self.path)? == self.stamp {
            return Ok(());
        }
        Err(Error::new(
            Kind::Io,
            format!("{} changed while it was read", self.path.display()),
        )
        .help("let the export finish, then run again"))
    }
}

/// What is read of a file whose disappearance or replacement is to be noticed.
fn stamp(path: &Path) -> Result<(u64, SystemTime)> {
    let meta = std::fs::metadata(path).map_err(|e| vanished(path, &e))?;
    let modified = meta.modified().map_err(|e| vanished(path, &e))?;
    Ok((meta.len(), modified))
}

/// The error for a file that was listed and cannot be read any more, or not unpacked.
pub fn vanished(path: &Path, error: &std::io::Error) -> Error {
    use std::io::ErrorKind as E;
    match error.kind() {
        E::NotFound => Error::new(
            Kind::Io,
            format!("{} vanished while it was being read", path.display()),
        )
        .help("let the export finish, then run again"),
        E::InvalidInput | E::InvalidData | E::UnexpectedEof => {
            Error::contract(format!("{} cannot be unpacked: {error}", path.display()))
                .help("it is truncated, damaged or still being written: deliver it again")
        }
        _ => Error::io("cannot read", path, error),
    }
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(|e| vanished(path, &e))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(|e| vanished(path, &e))? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hex(&hasher.finalize()))
}

/// The intervals of `source` that a run for `date` with `history_days` of history looks at, oldest first, each with
/// the files that lie there now. Intervals without files are left out.
///
/// # Errors
/// `Kind::SourceMissing` when the source is required and there is nothing for the night of `date` itself.
pub fn discover(source: &Source, date: NaiveDate, history_days: u32) -> Result<Vec<Delivery>> {
    let first = date - TimeDelta::days(i64::from(history_days) - 1);
    let intervals: Vec<(String, NaiveDate)> = match source.interval() {
        Interval::Whole => vec![("whole".into(), date)],
        Interval::Day => first
            .iter_days()
            .take_while(|d| *d <= date)
            .map(|d| (d.to_string(), d))
            .collect(),
        Interval::Month => {
            let mut months: Vec<NaiveDate> = first
                .iter_days()
                .take_while(|d| *d <= date)
                .filter_map(|d| d.with_day(1))
                .collect();
            months.dedup();
            months
                .into_iter()
                .map(|m| (m.format("%Y-%m").to_string(), m))
                .collect()
        }
    };
    let night = intervals.last().map(|(name, _)| name.clone());
    // Reading every byte for its hash is what takes time.
    let intervals = intervals.into_par_iter();
    let looked: Vec<(String, Result<Vec<Delivery>>)> = intervals
        .filter(|(interval, _)| !source.withdraws(interval))
        .map(|(interval, day)| {
            let of_interval = deliveries(source, &interval, day);
            (interval, of_interval)
        })
        .collect();
    let mut found = vec![];
    for (interval, of_interval) in looked {
        let of_interval = of_interval?;
        if of_interval.is_empty() && source.required && night.as_deref() == Some(&interval) {
            return Err(Error::new(
                Kind::SourceMissing,
                format!(
                    "source `{}` has no file for {interval}: nothing matches {}",
                    source.name,
                    place(&source.path, &interval)
                ),
            )
            .help("wait for the export and run again, or set `required = false` for this source"));
        }
        found.extend(of_interval);
    }
    Ok(found)
}

/// The deliveries of one interval that lie there now; its first day is `day`.
///
/// # Errors
/// Those of reading the files.
pub(super) fn deliveries(source: &Source, interval: &str, day: NaiveDate) -> Result<Vec<Delivery>> {
    let files = below_root(
        matching(Path::new(&place(&source.path, interval)))?,
        &source.path,
    )?;
    match &source.manifest {
        Some(manifest) => declared(source, files, &place(manifest, interval), interval, day),
        None => undeclared(source, files, interval, day),
    }
}

/// What can be told of the files of an interval without opening one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glance {
    /// How many there are, without manifests.
    pub(super) files: usize,
    /// When the newest of them was written, to the microsecond.
    pub(super) newest: Option<DateTime<Utc>>,
}

/// Looks at the files of an interval from outside.
///
/// # Errors
/// Those of listing them.
pub(super) fn glance(source: &Source, interval: &str) -> Result<Glance> {
    let mut files = matching(Path::new(&place(&source.path, interval)))?;
    if let Some(manifest) = &source.manifest {
        let manifests = matching(Path::new(&place(manifest, interval)))?;
        files.retain(|file| !manifests.contains(file));
    }
    let mut newest: Option<DateTime<Utc>> = None;
    for file in &files {
        newest = newest.max(Some(stamp(file)?.1.into()));
    }
    Ok(Glance {
        files: files.len(),
        newest: newest.and_then(|t| DateTime::from_timestamp_micros(t.timestamp_micros())),
    })
}

/// A pattern with its placeholder filled in.
fn place(pattern: &str, interval: &str) -> String {
    pattern
        .replace("{date}", interval)
        .replace("{period}", interval)
}

/// The files of a source there are, of whatever interval.
///
/// # Errors
/// Those of reading folders.
pub fn exported(source: &Source) -> Result<Vec<PathBuf>> {
    let pattern = source.path.replace("{date}", "*").replace("{period}", "*");
    matching(Path::new(&pattern))
}

/// The deliveries of an interval without manifests: all files are one, or each is one.
fn undeclared(
    source: &Source,
    files: Vec<PathBuf>,
    interval: &str,
    day: NaiveDate,
) -> Result<Vec<Delivery>> {
    let root = fixed_part(&source.path);
    let files = files
        .into_iter()
        .map(|path| InputFile::open(path, &root))
        .collect::<Result<Vec<_>>>()?;
    let delivery = |name: String, files| Delivery {
        interval: interval.to_string(),
        day,
        files,
        name,
        manifest: None,
        lacking: None,
    };
    Ok(match source.export {
        _ if files.is_empty() => vec![],
        Export::Overwrite => vec![delivery(String::new(), files)],
        Export::Append => files
            .into_iter()
            .map(|f| delivery(f.name.clone(), vec![f]))
            .collect(),
    })
}

/// The deliveries of an interval whose manifests match `pattern`. What a manifest does not name belongs to no delivery: an
/// issuer leaves the files of an earlier one behind.
fn declared(
    source: &Source,
    mut files: Vec<PathBuf>,
    pattern: &str,
    interval: &str,
    day: NaiveDate,
) -> Result<Vec<Delivery>> {
    let manifests = below_root(
        matching(Path::new(pattern))?,
        source.manifest.as_deref().unwrap_or_default(),
    )?;
    files.retain(|f| !manifests.contains(f));
    if files.is_empty() && manifests.is_empty() {
        return Ok(vec![]);
    }
    let root = fixed_part(&source.path);
    let opened = |paths: Vec<PathBuf>| -> Result<Vec<InputFile>> {
        let opened = paths.into_iter().map(|path| InputFile::open(path, &root));
        opened.collect()
    };
    let empty = Delivery {
        interval: interval.to_string(),
        day,
        files: vec![],
        name: String::new(),
        manifest: None,
        lacking: None,
    };
    if source.export == Export::Overwrite && manifests.len() != 1 {
        let lacking = match manifests.as_slice() {
            [] => format!("its manifest has not come: nothing matches {pattern}"),
            several => format!(
                "{} manifests match {pattern}, and only the newest delivery of an interval counts",
                several.len()
            ),
        };
        return Ok(vec![Delivery {
            files: opened(files)?,
            lacking: Some(lacking),
            ..empty
        }]);
    }
    // What the pattern leaves open once the interval is known.
    let folder = fixed_part(
        &source
            .path
            .replace("{date}", interval)
            .replace("{period}", interval),
    );
    let period = source.path.contains("{period}").then_some(interval);
    let manifest_root = fixed_part(source.manifest.as_deref().unwrap_or_default());
    let mut deliveries = vec![];
    let mut named: Vec<PathBuf> = vec![];
    for path in &manifests {
        let bytes = std::fs::read(path).map_err(|e| vanished(path, &e))?;
        let text = String::from_utf8_lossy(&bytes);
        let mut delivery = empty.clone();
        if source.export == Export::Append {
            let name = path.strip_prefix(&manifest_root).unwrap_or(path);
            delivery.name = name.to_string_lossy().into_owned();
        }
        match Manifest::read(path, &text) {
            Err(wrong) => {
                delivery.lacking = Some(format!("the manifest {} {wrong}", path.display()))
            }
            Ok(manifest) => {
                let (found, lacking) = found(&manifest, path, (&files, &folder), period);
                named.extend(found.iter().cloned());
                delivery.lacking = lacking;
                delivery.files = opened(found)?;
                delivery.manifest = Some(manifest);
            }
        }
        deliveries.push(delivery);
    }
    if source.export == Export::Append {
        for file in opened(files.into_iter().filter(|f| !named.contains(f)).collect())? {
            deliveries.push(Delivery {
                name: file.name.clone(),
                lacking: Some(format!("no manifest names {}", file.path.display())),
                files: vec![file],
                ..empty.clone()
            });
        }
    }
    Ok(deliveries)
}

/// The files that a manifest names, sorted, and what is wrong where they are not all there.
fn found(
    manifest: &Manifest,
    path: &Path,
    (files, root): (&[PathBuf], &Path),
    period: Option<&str>,
) -> (Vec<PathBuf>, Option<String>) {
    let shown = path.display();
    let mut found: Vec<PathBuf> = vec![];
    let mut lacking = manifest
        .period
        .as_ref()
        .filter(|p| period.is_some_and(|wanted| *p != wanted))
        .map(|p| format!("the manifest {shown} is for {p}"));
    for name in &manifest.files {
        let wrong = match meant(name, files, root).as_slice() {
            [file] if !found.contains(file) => {
                found.push((*file).clone());
                continue;
            }
            [_] => format!("the manifest {shown} names {name} twice"),
            [] => format!("the manifest {shown} names {name}, and no such file is there"),
            several => format!(
                "the manifest {shown} names {name}, and {} files are called that",
                several.len()
            ),
        };
        lacking.get_or_insert(wrong);
    }
    found.sort();
    (found, lacking)
}

/// The files below `root` that `wanted`, a path or a key of an object store, may stand for. As many names as both have must
/// agree, counted from the end, so that a file of an earlier delivery's folder does not pass for this one's.
fn meant<'a>(wanted: &str, files: &'a [PathBuf], root: &Path) -> Vec<&'a PathBuf> {
    let wanted: Vec<&str> = wanted.rsplit(['/', '\\']).collect();
    let fits = |file: &&PathBuf| {
        let below = file.strip_prefix(root).unwrap_or(file);
        let names = below.iter().rev().map(|n| n.to_string_lossy());
        names.zip(&wanted).all(|(a, b)| a == *b)
    };
    files.iter().filter(fits).collect()
}

/// The part of a pattern before the first folder or file name that is not fixed.
fn fixed_part(pattern: &str) -> PathBuf {
    let mut root = PathBuf::new();
    let mut parts = Path::new(pattern).components().peekable();
    while let Some(part) = parts.next() {
        let open = part.as_os_str().to_string_lossy().contains(['*', '{']);
        if open || parts.peek().is_none() {
            break;
        }
        root.push(part);
    }
    root
}

/// The files that match a pattern in which `*` stands for any run of characters within one name, sorted.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let name = part.as_os_str().to_string_lossy();
        if !name.contains('*') {
            for path in &mut found {
                path.push(part);
            }
            continue;
        }
        let mut next = vec![];
        for dir in &found {
            let Ok(entries) = std::fs::read_dir(dir) else {
                continue;
            };
            for entry in entries {
                let entry = entry.map_err(|e| Error::io("cannot list", dir, &e))?;
                let file_name = entry.file_name();
                let hidden = file_name.to_string_lossy().starts_with(['.', '_']);
                if !hidden && wildcard(&name, &file_name.to_string_lossy()) {
                    next.push(entry.path());
                }
            }
        }
        found = next;
    }
    // A link that leads nowhere is kept, so that opening it says what is missing.
    found.retain(|p| match p.metadata() {
        Ok(meta) => meta.is_file(),
        Err(_) => p.is_symlink(),
    });
    found.sort();
    Ok(found)
}

/// The files found by `pattern`, none of which lies elsewhere than in the folder that the pattern names: who delivers there
/// may not have anything else read by a link.
///
/// # Errors
/// `Kind::Contract`, naming the link and where it leads.
fn below_root(found: Vec<PathBuf>, pattern: &str) -> Result<Vec<PathBuf>> {
    let root = fixed_part(pattern);
    let Ok(real) = root.canonicalize() else {
        return Ok(found);
    };
    for path in &found {
        // One that leads nowhere is told of when it is opened.
        let Ok(leads) = path.canonicalize() else {
            continue;
        };
        if !leads.starts_with(&real) {
            return Err(Error::contract(format!(
                "{} leads out of the source's folder {}, to {}",
                path.display(),
                root.display(),
                leads.display()
            ))
            .help(
                "deliver the file itself, or name the folder where it lies in the source's `path`",
            ));
        }
    }
    Ok(found)
}

/// Whether `name` fits `pattern`, in which `*` stands for any run of characters.
fn wildcard(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::reader::SourceFile;
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters_within_a_name() {
        assert!(wildcard("*.parquet", "part-0.parquet"));
        assert!(wildcard("part-*.csv*", "part-7.csv.gz"));
        assert!(wildcard("a.csv", "a.csv"));
        assert!(!wildcard("a.csv", "a.csv.gz"));
        assert!(!wildcard("*.parquet", "part-0.parquet.tmp"));
    }

    #[test]
    fn a_file_that_goes_or_changes_after_it_was_found_asks_for_another_run() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.csv");
        std::fs::write(&path, "item_id,title\n1,one\n").unwrap();
        std::fs::create_dir(dir.path().join("b.csv")).unwrap();
        let listed = matching(&dir.path().join("*.csv")).unwrap();
        assert_eq!(listed, std::slice::from_ref(&path));
        let found = InputFile::open(path.clone(), dir.path()).unwrap();
        found.check_unchanged().unwrap();
        let open = SourceFile::open(found.clone(), &[]).unwrap();

        std::fs::write(&path, "item_id,title\n1,one\n2,two\n").unwrap();
        let changed = found.check_unchanged().unwrap_err();
        std::fs::remove_file(&path).unwrap();
        let errors = [
            (changed, "changed while it was read"),
            (found.check_unchanged().unwrap_err(), "vanished"),
            (open.raw(&[1]).unwrap_err(), "vanished"),
            (SourceFile::open(found, &[]).unwrap_err(), "vanished"),
            (InputFile::open(path, dir.path()).unwrap_err(), "vanished"),
        ];
        for (error, says) in errors {
            let text = error.to_string();
            assert!(text.contains("a.csv") && text.contains(says), "{text}");
            assert_eq!(error.kind(), Kind::Io);
            assert_eq!(
                error.remedy(),
                Some("let the export finish, then run again")
            );
        }
    }

    #[test]
    fn a_manifest_means_the_file_below_the_folders_that_it_names() {
        let root = Path::new("/cur/data/BILLING_PERIOD=2026-10");
        let files = [
            root.join("exec-1/part-0.parquet"),
            root.join("exec-2/part-0.parquet"),
        ];
        let key = |exec: &str| {
            format!("s3://bucket/cur/data/BILLING_PERIOD=2026-10/{exec}/part-0.parquet")
        };
        assert_eq!(meant(&key("exec-2"), &files, root), [&files[1]]);
        assert_eq!(meant("exec-1/part-0.parquet", &files, root), [&files[0]]);
        // Of a delivery that is not there yet, the file of the one before it is not taken.
        assert!(meant(&key("exec-3"), &files, root).is_empty());
        assert_eq!(meant("part-0.parquet", &files, root).len(), 2);
    }

    #[test]
    fn a_link_may_lead_about_in_the_folder_and_not_out_of_it() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::TempDir::new().unwrap();
        let (root, out) = (dir.path().join("exports"), dir.path().join("out"));
        for folder in [&root.join("ds=1"), &out] {
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join("a.csv"), "item_id\n1\n").unwrap();
        }
        let pattern = root.join("ds={date}/*.csv");
        let look = |interval: &str| {
            let pattern = pattern.to_str().unwrap();
            below_root(matching(Path::new(&place(pattern, interval)))?, pattern)
        };
        symlink("a.csv", root.join("ds=1/b.csv")).unwrap();
        symlink("ds=1", root.join("ds=2")).unwrap();
        symlink("gone", root.join("ds=1/c.csv")).unwrap();
        assert_eq!(look("1").unwrap().len(), 3);
        assert_eq!(look("2").unwrap().len(), 3);
        // The folder itself may lie anywhere.
        symlink(&root, dir.path().join("linked")).unwrap();
        let linked = dir.path().join("linked/ds={date}/*.csv");
        let linked = linked.to_str().unwrap();
        let found = matching(Path::new(&place(linked, "1"))).unwrap();
        assert_eq!(below_root(found, linked).unwrap().len(), 3);

        symlink("../../out/a.csv", root.join("ds=1/d.csv")).unwrap();
        symlink(&out, root.join("ds=3")).unwrap();
        symlink("../out", root.join("ds=4")).unwrap();
        for (interval, link) in [
            ("1", "ds=1/d.csv"),
            ("3", "ds=3/a.csv"),
            ("4", "ds=4/a.csv"),
        ] {
            let error = look(interval).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(link) && text.contains("out/a.csv"), "{text}");
            assert_eq!(error.kind(), Kind::Contract);
            assert!(error.remedy().unwrap().contains("deliver the file itself"));
        }
    }

    #[test]
    fn the_root_ends_before_the_first_open_name() {
        assert_eq!(
            fixed_part("/x/events/ds={date}/*.parquet"),
            Path::new("/x/events")
        );
        assert_eq!(fixed_part("/x/bill.csv"), Path::new("/x"));
    }
}
