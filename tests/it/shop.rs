//! A small generated shop for tests, and the program run on it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use arrow::array::RecordBatch;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

/// Last day of the shop's exports.
pub const NIGHT: &str = "2026-10-31";

/// Arguments of [`NIGHT`]'s run.
pub const RUN: [&str; 6] = run_of(NIGHT);

/// Arguments of the run of a night; the CPU computes.
pub const fn run_of(night: &str) -> [&str; 6] {
    ["run", "pipeline.toml", "--date", night, "--device", "cpu"]
}

/// Arguments of a search for better hyperparameters of the first model, judged on a night.
pub fn tune_of(night: &str) -> Vec<&str> {
    [&["tune", "pipeline.toml", "home-als"], &run_of(night)[2..]].concat()
}

/// Arguments of a backfill of [`NIGHT`] alone; the CPU computes.
pub const BACKFILL: [&str; 8] = [
    "backfill",
    "pipeline.toml",
    "--from",
    NIGHT,
    "--to",
    NIGHT,
    "--device",
    "cpu",
];

/// Has the program log as JSON, which no terminal's width breaks into lines.
pub const JSON: [&str; 2] = ["--log-format", "json"];

/// The stages of a night.
pub const STAGES: [&str; 7] = [
    "ingest",
    "features",
    "train",
    "score",
    "evaluate",
    "attribute",
    "check",
];

/// A project folder with exports and a pipeline file.
pub struct Shop {
    dir: TempDir,
}

/// Exports made once for all tests; each test works on a copy.
fn exports() -> &'static Path {
    static EXPORTS: OnceLock<TempDir> = OnceLock::new();
    EXPORTS
        .get_or_init(|| {
            let dir = TempDir::new().unwrap();
            let out = recost(dir.path(), &["init", "."]);
            assert!(out.status.success(), "{}", text(&out.stderr));
            dir
        })
        .path()
}

impl Shop {
    /// A fresh copy of the shop.
    pub fn new() -> Self {
        let dir = TempDir::new().unwrap();
        copy(exports(), dir.path());
        Shop { dir }
    }

    /// The project folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path below the project folder.
    pub fn file(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Replaces text in the pipeline file; it must be there.
    pub fn edit(&self, from: &str, to: &str) {
        let file = self.file("pipeline.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{from:?} is not in the pipeline file");
        std::fs::write(file, text.replace(from, to)).unwrap();
    }

    /// Runs the program in the project folder.
    pub fn recost(&self, args: &[&str]) -> Output {
        recost(self.path(), args)
    }

    /// Runs the night; the CPU computes.
    pub fn run(&self) -> Output {
        self.recost(&RUN)
    }

    /// Runs the night, which must succeed.
    pub fn run_ok(&self) {
        let out = self.run();
        assert!(out.status.success(), "{}", text(&out.stderr));
    }

    /// The rows of a query on the published tables, as lines of CSV without the header.
    pub fn query(&self, sql: &str) -> Vec<String> {
        query(self.path(), sql)
    }

    /// Hash of every published file, by its path below the snapshot. Left out is what holds seconds and so differs from run
    /// to run: the rows that runs write about themselves into `usage`, and those of `models` and `frontier`.
    pub fn published(&self) -> Vec<(String, u64)> {
        let root = self.file("warehouse/current").canonicalize().unwrap();
        let mut files = files_below(&root);
        files.retain(|(name, _)| {
            let timed = name.contains("/recost-run.")
                || ((name.starts_with("models/") || name.starts_with("frontier/"))
                    && name.ends_with(".parquet"));
            !timed
        });
        let hash = |path: PathBuf| xxhash_rust::xxh3::xxh3_64(&std::fs::read(path).unwrap());
        files
            .into_iter()
            .map(|(name, path)| (name, hash(path)))
            .collect()
    }
}

/// Runs the program in `dir`.
pub fn recost(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_recost"))
        .args(args)
        .current_dir(dir)
        .env_remove("RECOST_LOG")
        .env("RUST_BACKTRACE", "0")
        .output()
        .unwrap()
}

/// What Python says to these arguments; `None` where it, or a module that it needs, is not installed, which is told, since the
/// test then looks at nothing. With `RECOST_TESTS=all`, as in CI, that is a failure.
pub fn python(dir: &Path, args: &[&str]) -> Option<Output> {
    let run = Command::new("python3").args(args).current_dir(dir).output();
    let missing = match &run {
        Err(e) => format!("python3 cannot be started: {e}"),
        Ok(out) if text(&out.stderr).contains("ModuleNotFoundError") => text(&out.stderr),
        Ok(_) => return run.ok(),
    };
    let all = std::env::var("RECOST_TESTS").is_ok_and(|tests| tests == "all");
    assert!(!all, "{missing}");
    // The test harness holds back what `println!` writes in a test that passes.
    let said = format!("SKIPPED, nothing was tested: {missing}\n");
    let _ = std::io::stderr().write_all(said.as_bytes());
    None
}

/// The rows of a query on the tables of the project in `dir`, as lines of CSV without the header.
pub fn query(dir: &Path, sql: &str) -> Vec<String> {
    let out = recost(dir, &["sql", "pipeline.toml", sql, "--format", "csv"]);
    assert!(out.status.success(), "{sql}\n{}", text(&out.stderr));
    text(&out.stdout)
        .lines()
        .skip(1)
        .map(str::to_string)
        .collect()
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Calls `visit` for every file below `dir`.
pub fn walk(dir: &Path, visit: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, visit);
        } else {
            visit(&path);
        }
    }
}

/// The files below `dir`, by their path there, sorted.
pub fn files_below(dir: &Path) -> Vec<(String, PathBuf)> {
    let mut files = vec![];
    walk(dir, &mut |path| {
        let name = path.strip_prefix(dir).unwrap().to_string_lossy();
        files.push((name.into_owned(), path.to_path_buf()));
    });
    files.sort();
    files
}

/// The files of the tables of a snapshot with their bytes, by their path there, sorted.
pub fn tables_below(snapshot: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = files_below(snapshot);
    files.retain(|(name, _)| name != "contracts.json");
    let read = |(name, path)| (name, std::fs::read(path).unwrap());
    files.into_iter().map(read).collect()
}

/// A Parquet file of the rows.
pub fn parquet(rows: &RecordBatch) -> Vec<u8> {
    let mut bytes = vec![];
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
    bytes
}

/// Copies a folder, and when its files were written.
pub fn copy(from: &Path, to: &Path) {
    walk(from, &mut |path| {
        let target = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(path, &target).unwrap();
        let written = path.metadata().unwrap().modified().unwrap();
        let copied = std::fs::File::options().append(true).open(target).unwrap();
        copied.set_modified(written).unwrap();
    });
}
