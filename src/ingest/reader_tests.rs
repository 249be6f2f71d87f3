//! What readers promise for any content: every cell comes back as it was written, every row under its number.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use tempfile::TempDir;

use super::files::discover;
use super::reader::SourceFile;
use crate::config::Source;
use crate::engine::{Engine, Options};
use crate::error::{Kind, Result};

fn open(path: &Path) -> Result<Arc<SourceFile>> {
    let text = format!(
        "name = \"s\"\nkind = \"events\"\ndialect = \"d\"\npath = {:?}",
        path.to_str().unwrap()
    );
    let source: Source = toml::from_str(&text).unwrap();
    let deliveries = discover(&source, "2026-10-31".parse().unwrap(), 1)?;
    SourceFile::open(deliveries[0].files[0].clone(), &[])
}

fn rows(file: &Arc<SourceFile>) -> Result<Vec<RecordBatch>> {
    let options = Options {
        memory: 64 << 20,
        threads: 1,
        spill: None,
        spill_limit: u64::MAX,
        settings: Default::default(),
        date: "2026-10-31".parse().unwrap(),
        month: None,
        lateness_days: 0,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let engine = Engine::open(&options, None, None)?;
    engine
        .context()
        .register_table("source", file.table())
        .unwrap();
    runtime.block_on(engine.collect("select * from source"))
}

/// Texts that a careless writer or reader would break.
fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-z0-9 ]{0,6}",
        2 => "[\"',;\t\r\n\\\\]{1,4}",
        1 => "\\PC{0,8}",
        1 => Just("\u{feff}x".to_string()),
    ]
}

fn table() -> impl Strategy<Value = Vec<Vec<String>>> {
    (2_usize..5)
        .prop_flat_map(|width| prop::collection::vec(prop::collection::vec(cell(), width), 1..30))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_csv_comes_back_cell_by_cell(
        table in table(), delimiter in prop::sample::select(&b",;\t"[..]), gzip in any::<bool>(), bom in any::<bool>(),
    ) {
        let dir = TempDir::new().unwrap();
        let mut bytes = if bom { b"\xef\xbb\xbf".to_vec() } else { vec![] };
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(&mut bytes);
        writer.write_record((0..table[0].len()).map(|c| format!("c{c}"))).unwrap();
        for row in &table {
            writer.write_record(row).unwrap();
        }
        writer.flush().unwrap();
        drop(writer);
        let path = dir.path().join(if gzip { "t.csv.gz" } else { "t.csv" });
        if gzip {
            let mut packed = flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), Default::default());
            std::io::Write::write_all(&mut packed, &bytes).unwrap();
            packed.finish().unwrap();
        } else {
            std::fs::write(&path, &bytes).unwrap();
        }

        let file = open(&path).unwrap();
        let mut read = vec![];
        let mut numbers = vec![];
        for batch in rows(&file).unwrap() {
            numbers.extend_from_slice(batch.column_by_name("_row").unwrap().as_primitive::<Int64Type>().values());
            for row in 0..batch.num_rows() {
                let cell = |c| {
                    let column = batch.column(c).as_string_view();
                    if column.is_valid(row) { column.value(row).to_string() } else { String::new() }
                };
                read.push((0..table[0].len()).map(cell).collect::<Vec<_>>());
            }
        }
        prop_assert_eq!(&read, &table);
        prop_assert_eq!(numbers, (1..=table.len() as i64).collect::<Vec<_>>());
        prop_assert_eq!(file.rows(), table.len() as u64);
        prop_assert!(file.take_defects().is_empty());
    }

    #[test]
    fn rows_of_a_parquet_file_are_found_by_their_numbers(
        count in 1_i64..5_000, wanted in prop::collection::btree_set(1_i64..5_000, 1..20),
    ) {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("t.parquet");
        let batch = RecordBatch::try_from_iter([(
            "n",
            Arc::new(Int64Array::from_iter_values(1..=count)) as arrow::array::ArrayRef,
        )]).unwrap();
        let mut writer = ArrowWriter::try_new(std::fs::File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let wanted: Vec<i64> = wanted.into_iter().filter(|n| *n <= count).collect();
        let raw = open(&path).unwrap().raw(&wanted).unwrap();
        prop_assert_eq!(raw.keys().copied().collect::<Vec<_>>(), wanted);
        for (number, text) in raw {
            prop_assert_eq!(text, format!("{{\"n\":{number}}}"));
        }
    }
}

#[test]
fn a_parquet_file_cut_anywhere_is_a_broken_contract_and_no_panic() {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().join("whole.parquet");
    let batch = RecordBatch::try_from_iter([(
        "n",
        Arc::new(Int64Array::from_iter_values(0..100)) as arrow::array::ArrayRef,
    )])
    .unwrap();
    let file = std::fs::File::create(&whole).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let bytes = std::fs::read(&whole).unwrap();
    let cut = dir.path().join("cut.parquet");
    for length in 0..bytes.len() {
        std::fs::write(&cut, &bytes[..length]).unwrap();
        let error = open(&cut).and_then(|file| rows(&file)).unwrap_err();
        assert_eq!(error.kind(), Kind::Contract, "{length}: {error}");
        assert!(error.to_string().contains("cut.parquet"), "{error}");
    }
}

#[test]
fn a_csv_whose_rows_or_columns_have_no_end_is_a_broken_contract() {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    let dir = TempDir::new().unwrap();
    let path = dir.path().join("bomb.csv.gz");
    let many: String = (0..6_000).map(|n| format!("c{n},")).collect();
    // 64 MiB each, were they read to their end.
    for (head, fill, says) in [
        ("", "x", "no line break in 16777216 bytes"),
        (
            many.as_str(),
            "\n",
            "names 6001 columns, and 5000 are read at most",
        ),
        ("a,b\n1,2\n", "x", "row 2: "),
        ("a,b\n1,2\n", "x,", "row 2: "),
        ("a,b\n1,\"2\n", "3,4\n", "is a quote left open?"),
    ] {
        let mut packed = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::fast());
        packed.write_all(head.as_bytes()).unwrap();
        let fill = fill.repeat((1 << 20) / fill.len());
        for _ in 0..64 {
            packed.write_all(fill.as_bytes()).unwrap();
        }
        packed.finish().unwrap();
        let error = open(&path).and_then(|file| rows(&file)).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), Kind::Contract, "{text}");
        assert!(
            text.contains("bomb.csv.gz") && text.contains(says),
            "{text}"
        );
    }
    // Rows as long as that are read.
    let path = dir.path().join("long.csv");
    let long = "x".repeat(12 << 20);
    std::fs::write(
        &path,
        format!("a,b\n1,{long}\n2,{long}\n3,{long}\n4,{long}\n"),
    )
    .unwrap();
    let batches = rows(&open(&path).unwrap()).unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 4);
    assert!(batches.len() > 1, "not all in one batch");
}

#[test]
fn a_column_that_is_called_as_ours_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    std::fs::write(&path, "event_id,_row\ne1,7\n").unwrap();
    let error = open(&path).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Contract);
    assert!(
        error.to_string().contains("a.csv has a column `_row`"),
        "{error}"
    );
    assert!(error.remedy().unwrap().contains("another name"));
}
