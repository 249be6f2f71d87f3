//! Small files of a delivery, put together: an export that is written every five minutes must not make a file of the table for
//! each of them.

use std::path::{Path, PathBuf};

use crate::decoder;
use crate::disk::{read_dir, remove_file};
use crate::error::{Error, Result};
use crate::warehouse::{Table, TableWriter};

/// Files from so many bytes on stay as they are.
const SMALL: u64 = 8 << 20;
/// About so many bytes are put together.
const ENOUGH: u64 = 64 << 20;

/// Puts together the small files of the partition `dir` of `table` whose names start with `prefix`, in the order of their
/// names. The table must have no order of its own.
///
/// # Errors
/// Those of reading and writing.
pub fn gather(table: &'static Table, dir: &Path, prefix: &str) -> Result<()> {
    let mut files = read_dir(dir)?;
    files.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(prefix))
    });
    files.sort();
    let (mut small, mut bytes) = (vec![], 0);
    for path in files {
        let meta = path.metadata();
        let size = meta
            .map_err(|e| Error::io("cannot look at", &path, &e))?
            .len();
        if size >= SMALL {
            continue;
        }
        small.push(path);
        bytes += size;
        if bytes >= ENOUGH {
            join(table, &small)?;
            (small, bytes) = (vec![], 0);
        }
    }
    join(table, &small)
}

/// Makes one file of several, by the name of the first.
fn join(table: &'static Table, files: &[PathBuf]) -> Result<()> {
    let [first, others @ ..] = files else {
        return Ok(());
    };
    if others.is_empty() {
        return Ok(());
    }
    let whole = first.with_extension("gathered");
    let mut writer = TableWriter::create(table, &whole)?;
    for path in files {
        for rows in decoder::read(path)? {
            writer.write(&rows?)?;
        }
    }
    writer.finish()?;
    std::fs::rename(&whole, first).map_err(|e| Error::io("cannot rename", &whole, &e))?;
    others.iter().try_for_each(|path| remove_file(path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, StringViewArray};
    use arrow::datatypes::Int32Type;

    use super::*;
    use crate::warehouse::table;

    #[test]
    fn small_files_of_one_delivery_become_one_in_their_order_and_no_other_file_is_touched() {
        // Any table without an order does.
        let table: &'static Table = Box::leak(Box::new(Table {
            order: &[],
            ..*table("night_inputs").unwrap()
        }));
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, rows: std::ops::Range<i32>| {
            let texts = |name: &str| -> ArrayRef {
                let texts = rows.clone().map(|n| Some(format!("{name} {n}")));
                Arc::new(texts.collect::<StringViewArray>())
            };
            let days: ArrayRef = Arc::new(Int32Array::from_iter_values(rows.clone()));
            let batch = RecordBatch::try_from_iter([
                ("source", texts("s")),
                ("kind", texts("k")),
                ("interval", texts("i")),
                ("content_hash", texts("c")),
                ("history_days", Arc::clone(&days)),
                ("lateness_days", days),
            ]);
            let mut writer = TableWriter::create(table, &dir.path().join(name)).unwrap();
            writer.write(&batch.unwrap()).unwrap();
            writer.finish().unwrap();
        };
        put("clicks.2026-10-01.00002.000.parquet", 20..25);
        put("clicks.2026-10-01.00000.000.parquet", 0..10);
        put("clicks.2026-10-01.00000.held.000.parquet", 10..11);
        put("clicks.2026-10-01.00001.000.parquet", 11..20);
        put("clicks.2026-10-02.00000.000.parquet", 0..3);
        gather(table, dir.path(), "clicks.2026-10-01.").unwrap();
        gather(table, dir.path(), "clicks.2026-10-02.").unwrap();
        let mut left = read_dir(dir.path()).unwrap();
        left.sort();
        let names = left
            .iter()
            .map(|p| p.file_name().unwrap().to_str().unwrap());
        assert_eq!(
            names.collect::<Vec<_>>(),
            [
                "clicks.2026-10-01.00000.000.parquet",
                "clicks.2026-10-02.00000.000.parquet"
            ]
        );
        let days = |path: &Path| {
            let rows = decoder::read(path).unwrap().map(|rows| rows.unwrap());
            let days = rows.flat_map(|rows| {
                let days = rows.column_by_name("history_days").unwrap();
                days.as_primitive::<Int32Type>().values().to_vec()
            });
            days.collect::<Vec<_>>()
        };
        assert_eq!(days(&left[0]), (0..25).collect::<Vec<_>>());
        assert_eq!(days(&left[1]), [0, 1, 2]);
    }
}
