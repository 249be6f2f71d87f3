//! Input that means harm, or is damaged as badly: files whose sizes are lies, bombs, names and links that lead elsewhere, SQL
//! that would write. The program says what is wrong; it never panics, and never takes more memory than it may.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression as Codec;
use parquet::file::properties::{WriterProperties, WriterVersion};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use recost::error::Kind;

use crate::bad_input::published;
use crate::shop::{NIGHT, Shop, text};

/// Bytes of address space of the process that reads hostile files.
const MOST_MEMORY: u64 = 1 << 30;
/// Files that are mutated in the ordinary run; `RECOST_MUTANTS` says how many in a longer one.
const MUTANTS: usize = 1_500;
/// What the ordinary run may take for them, on a machine on which it is compiled without optimisation and not alone.
const PATIENCE: Duration = Duration::from_secs(240);

/// Fields of a struct of Thrift's compact protocol, in which Parquet writes what it says of itself.
#[derive(Default, Clone)]
struct Thrift(Vec<u8>, u8);

impl Thrift {
    fn head(mut self, id: u8, ty: u8) -> Self {
        assert!(id > self.1 && id - self.1 < 16);
        self.0.push((id - self.1) << 4 | ty);
        self.1 = id;
        self
    }

    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(n as u8 | 0x80);
            n >>= 7;
        }
        self.0.push(n as u8);
    }

    fn number(self, id: u8, ty: u8, n: i64) -> Self {
        let mut fields = self.head(id, ty);
        fields.varint(((n << 1) ^ (n >> 63)) as u64);
        fields
    }

    fn i32(self, id: u8, n: i32) -> Self {
        self.number(id, 5, i64::from(n))
    }

    fn i64(self, id: u8, n: i64) -> Self {
        self.number(id, 6, n)
    }

    fn text(self, id: u8, text: &str) -> Self {
        let mut fields = self.head(id, 8);
        fields.varint(text.len() as u64);
        fields.0.extend_from_slice(text.as_bytes());
        fields
    }

    fn inner(self, id: u8, inner: Thrift) -> Self {
        let mut fields = self.head(id, 12);
        fields.0.extend(inner.end());
        fields
    }

    /// A list of elements of the type, that says it has so many.
    fn list(self, id: u8, ty: u8, says: u64, elements: &[Vec<u8>]) -> Self {
        let mut fields = self.head(id, 9);
        fields.0.push(0xf0 | ty);
        fields.varint(says);
        fields.0.extend(elements.concat());
        fields
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(0);
        self.0
    }
}

fn node(name: &str, children: i32) -> Thrift {
    match children {
        0 => Thrift::default()
            .i32(1, 6)
            .i32(3, 0)
            .text(4, name)
            .i32(6, 0),
        n => Thrift::default().i32(3, 0).text(4, name).i32(5, n),
    }
}

/// A Parquet file of one column of texts, all of whose numbers can be lies.
#[derive(Clone)]
struct Lies {
    schema: Vec<Vec<u8>>,
    schema_says: u64,
    rows: i64,
    groups_say: u64,
    groups: usize,
    codec: i32,
    pages: Vec<(Thrift, Vec<u8>)>,
    /// Added to where the column begins and to its length.
    off: (i64, i64),
}

/// The header of a data page or, of type 2, a dictionary.
fn page(ty: i32, unpacked: i32, packed: i32, values: i32) -> Thrift {
    let header = Thrift::default().i32(1, ty).i32(2, unpacked).i32(3, packed);
    let inner = Thrift::default().i32(1, values).i32(2, 0);
    match ty {
        2 => header.inner(7, inner),
        _ => header.inner(5, inner.i32(3, 3).i32(4, 3)),
    }
}

impl Lies {
    /// A file of the one user `u1`, which tells the truth.
    fn none() -> Lies {
        let value = [2, 0, 0, 0, b'u', b'1'].to_vec();
        Lies {
            schema: vec![
                Thrift::default().text(4, "root").i32(5, 1).end(),
                node("user_id", 0).end(),
            ],
            schema_says: 2,
            rows: 1,
            groups_say: 1,
            groups: 1,
            codec: 0,
            pages: vec![(page(0, 6, 6, 1), value)],
            off: (0, 0),
        }
    }

    fn paged(codec: i32, header: Thrift, bytes: &[u8]) -> Lies {
        Lies {
            codec,
            pages: vec![(header, bytes.to_vec())],
            ..Lies::none()
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"PAR1".to_vec();
        for (header, page) in &self.pages {
            bytes.extend(header.clone().end());
            bytes.extend(page);
        }
        let length = bytes.len() as i64 - 4;
        let column = Thrift::default()
            .i32(1, 6)
            .list(2, 5, 1, &[vec![0]])
            .list(3, 8, 1, &[b"\x07user_id".to_vec()])
            .i32(4, self.codec)
            .i64(5, 1)
            .i64(6, length)
            .i64(7, length + self.off.1)
            .i64(9, 4 + self.off.0);
        let chunk = Thrift::default().i64(2, 4).inner(3, column).end();
        let group = Thrift::default()
            .list(1, 12, 1, &[chunk])
            .i64(2, length)
            .i64(3, self.rows)
            .end();
        let footer = Thrift::default()
            .i32(1, 1)
            .list(2, 12, self.schema_says, &self.schema)
            .i64(3, self.rows)
            .list(4, 12, self.groups_say, &vec![group; self.groups])
            .end();
        bytes.extend(&footer);
        bytes.extend((footer.len() as u32).to_le_bytes());
        bytes.extend(b"PAR1");
        bytes
    }
}

/// So many MiB of zeros, packed.
fn zeros(mebibytes: usize) -> Vec<u8> {
    let mut part = GzEncoder::new(vec![], Compression::best());
    part.write_all(&vec![0; 16 << 20]).unwrap();
    part.finish().unwrap().repeat(mebibytes / 16)
}

/// Files that say or are what no memory holds, by name.
fn bombs() -> Vec<(&'static str, Vec<u8>)> {
    let most = i32::MAX;
    let value = [2, 0, 0, 0, b'u', b'1'];
    let deep = |depth: usize| {
        let mut schema = vec![Thrift::default().text(4, "root").i32(5, 1).end()];
        schema.extend((0..depth).map(|_| node("g", 1).end()));
        schema.push(node("user_id", 0).end());
        Lies {
            schema_says: schema.len() as u64,
            schema,
            ..Lies::none()
        }
    };
    let packed = zeros(2048);
    let gzip = |says: i32| {
        let length = packed.len() as i32;
        Lies::paged(2, page(0, says, length, 1), &packed).bytes()
    };
    let lies = |change: fn(&mut Lies)| {
        let mut lies = Lies::none();
        change(&mut lies);
        lies.bytes()
    };
    let mut many_null_rows = Thrift::default();
    many_null_rows.varint(u64::from(most.unsigned_abs()) << 1);
    let mut bombs = vec![
        ("nested a little too deep", deep(70).bytes()),
        ("nested without end", deep(200_000).bytes()),
        (
            "row groups without end",
            lies(|l| l.groups_say = u64::from(u32::MAX)),
        ),
        (
            "row groups that are not there",
            lies(|l| l.groups_say = 1 << 40),
        ),
        (
            "a hundred thousand row groups",
            lies(|l| {
                l.groups = 300_000;
                l.groups_say = 300_000;
            }),
        ),
        (
            "schema without end",
            lies(|l| l.schema_says = i32::MAX as u64),
        ),
        ("rows that are not there", lies(|l| l.rows = i64::MAX)),
        ("fewer rows than none", lies(|l| l.rows = -1)),
        ("a column before the file", lies(|l| l.off.0 = -1_000_000)),
        ("a column beyond the file", lies(|l| l.off.0 = i64::MAX / 2)),
        (
            "a column longer than the file",
            lies(|l| l.off.1 = i64::MAX / 2),
        ),
        (
            "a column of less than nothing",
            lies(|l| l.off.1 = -1_000_000),
        ),
        (
            "a page longer than the file",
            Lies::paged(0, page(0, most, most, 1), &value).bytes(),
        ),
        (
            "a page of less than nothing",
            Lies::paged(0, page(0, -6, -6, 1), &value).bytes(),
        ),
        (
            "more values than bytes",
            Lies::paged(0, page(0, 6, 6, most), &value).bytes(),
        ),
        (
            "a dictionary without end",
            Lies::paged(1, page(2, most, 6, most), &value).bytes(),
        ),
        ("gzip that says two gibibytes", gzip(most)),
        ("gzip that says ten bytes", gzip(10)),
    ];
    for (name, codec) in [
        ("snappy", 1),
        ("brotli", 4),
        ("lz4", 5),
        ("zstd", 6),
        ("lz4 raw", 7),
    ] {
        bombs.push((
            name,
            Lies::paged(codec, page(0, most, 6, 1), &value).bytes(),
        ));
    }
    bombs
}

/// Small exports as the shop delivers them, in every form that Parquet has.
fn exports(shop: &Shop) -> Vec<(&'static str, Vec<u8>)> {
    let mut exports = vec![];
    let kinds = [
        ("events", "exports/events/ds=2026-10-31/part-00000.parquet"),
        ("users", "exports/users/ds=2026-10-31/part-00000.parquet"),
        (
            "charges",
            "exports/billing/northcloud/billing_period=2026-10/part-00000.parquet",
        ),
    ];
    let codecs = [
        Codec::UNCOMPRESSED,
        Codec::SNAPPY,
        Codec::GZIP(Default::default()),
        Codec::BROTLI(Default::default()),
        Codec::LZ4,
        Codec::LZ4_RAW,
        Codec::ZSTD(Default::default()),
    ];
    for (kind, path) in kinds {
        let file = File::open(shop.file(path)).unwrap();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(file)
            .unwrap()
            .build()
            .unwrap();
        let batch = reader.next().unwrap().unwrap();
        let batch = batch.slice(0, batch.num_rows().min(60));
        for (n, codec) in codecs.into_iter().enumerate() {
            let version = [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0][n % 2];
            let properties = WriterProperties::builder()
                .set_compression(codec)
                .set_writer_version(version)
                .set_dictionary_enabled(n % 3 != 0)
                .set_data_page_row_count_limit(25)
                .set_write_batch_size(25)
                .build();
            let mut writer =
                ArrowWriter::try_new(vec![], batch.schema(), Some(properties)).unwrap();
            writer.write(&batch).unwrap();
            exports.push((kind, writer.into_inner().unwrap()));
        }
    }
    exports
}

/// Damages a file: cut off, bits turned, bytes set to what sizes like least, parts repeated or taken out.
fn mutate(bytes: &mut Vec<u8>, random: &mut Pcg64Mcg) {
    // Half of the damage goes where the file says what it is.
    let footer = bytes.len().saturating_sub(8).min(
        bytes.len()
            - 8
            - u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().unwrap()) as usize,
    );
    for _ in 0..random.random_range(1..6) {
        if bytes.len() < 16 {
            return;
        }
        let from = if random.random_bool(0.5) {
            footer.min(bytes.len() - 9)
        } else {
            4
        };
        let at = random.random_range(from..bytes.len());
        match random.random_range(0..20) {
            0 => bytes.truncate(at),
            1..10 => bytes[at] ^= 1 << random.random_range(0..8),
            10..14 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.random_range(0..5)],
            14..16 => {
                // The greatest number of 32 bits, as Thrift writes it.
                for (byte, new) in bytes[at..].iter_mut().zip([0xfe, 0xff, 0xff, 0xff, 0x0f]) {
                    *byte = new;
                }
            }
            16 => {
                let end = (at + random.random_range(1..64)).min(bytes.len());
                bytes.drain(at..end);
            }
            17 => {
                let end = (at + random.random_range(1..64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let end = (at + random.random_range(1..9)).min(bytes.len());
                let other = random.random_range(0..=bytes.len() - (end - at));
                bytes.copy_within(at..end, other);
            }
        }
    }
}

/// Reads each file below the folder of `RECOST_HOSTILE` and says what came of it; run in a process of its own.
#[test]
fn reader_in_a_process_of_its_own() {
    let Some(folder) = std::env::var_os("RECOST_HOSTILE") else {
        return;
    };
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let kind = name.split('-').next().unwrap();
        println!("reads {name}");
        let started = Instant::now();
        if let Err(error) = recost::fuzzing::export(kind, &path) {
            assert_eq!(error.kind(), Kind::Contract, "{name}: {error}");
            let said = error.to_string();
            assert!(
                said.len() < 2_000,
                "{name}: {} bytes of an error",
                said.len()
            );
            println!("refused {name}: {said}");
        } else {
            println!("read {name}");
        }
        let seconds = started.elapsed().as_secs();
        assert!(seconds < 20, "{name} takes {seconds} s");
    }
    println!("reads no more");
}

/// Has all files of a folder read by a process of bounded memory. Returns what it says.
fn read_all(folder: &Path) -> String {
    let out = Command::new("sh")
        .args(["-c", "ulimit -v $1; shift; exec \"$@\"", "sh"])
        .arg((MOST_MEMORY >> 10).to_string())
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "hostile::reader_in_a_process_of_its_own",
            "--nocapture",
        ])
        .env("RECOST_HOSTILE", folder)
        .output()
        .unwrap();
    let said = text(&out.stdout);
    let last = said.lines().rfind(|l| l.starts_with("reads "));
    assert!(
        out.status.success() && last == Some("reads no more"),
        "{last:?}, kept in {}\n{}",
        folder.display(),
        text(&out.stderr)
    );
    said
}

#[test]
fn a_file_that_lies_about_its_size_is_refused_within_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("users-0.parquet"), Lies::none().bytes()).unwrap();
    let bombs = bombs();
    for (n, (_, bytes)) in bombs.iter().enumerate() {
        fs::write(dir.path().join(format!("users-b{n:02}.parquet")), bytes).unwrap();
    }
    let said = read_all(dir.path());
    assert!(said.contains("\nread users-0.parquet"), "{said}");
    for (n, (what, _)) in bombs.iter().enumerate() {
        let refused = format!("refused users-b{n:02}.parquet: ");
        let line = said.lines().find(|l| l.starts_with(&refused));
        let line = line.unwrap_or_else(|| panic!("{what} is read:\n{said}"));
        assert!(
            line.contains(&format!("users-b{n:02}.parquet ")),
            "{what}: {line}"
        );
    }
}

#[test]
fn damaged_files_are_read_or_refused_and_nothing_else() {
    let shop = Shop::new();
    let exports = exports(&shop);
    let mutants = std::env::var("RECOST_MUTANTS").ok();
    let mutants: usize = mutants.map_or(MUTANTS, |n| n.parse().unwrap());
    let seed: u64 = std::env::var("RECOST_SEED").map_or(7, |n| n.parse().unwrap());
    let mut random = Pcg64Mcg::seed_from_u64(seed);
    let started = Instant::now();
    let (mut read, mut refused) = (0, 0);
    // Few at a time, so that those are kept that break something, and not all.
    for batch in 0..mutants.div_ceil(500) {
        let dir = tempfile::Builder::new()
            .prefix("recost-mutants")
            .disable_cleanup(true)
            .tempdir()
            .unwrap();
        for n in 0..mutants.min(500) {
            let (kind, whole) = &exports[random.random_range(0..exports.len())];
            let mut bytes = whole.clone();
            mutate(&mut bytes, &mut random);
            fs::write(dir.path().join(format!("{kind}-{n:03}.parquet")), bytes).unwrap();
        }
        let said = read_all(dir.path());
        read += said.matches("\nread ").count();
        refused += said.matches("\nrefused ").count();
        fs::remove_dir_all(dir.path()).unwrap();
        if batch > 0 && mutants == MUTANTS && started.elapsed() > PATIENCE {
            break;
        }
    }
    println!("{read} read, {refused} refused");
    assert!(read > 50 && refused > 50, "{read} read, {refused} refused");
}

#[test]
fn a_night_with_a_bomb_or_a_link_that_leads_out_ends_with_code_8_and_leaves_the_tables() {
    let shop = published();
    shop.edit("memory = \"2GiB\"", "memory = \"256MiB\"");
    let users = shop.file("exports/users/ds=2026-10-31/part-00000.parquet");
    let good = fs::read(&users).unwrap();
    let before = shop.published();
    let night = || {
        Command::new("sh")
            .args(["-c", "ulimit -v 3145728; exec \"$@\"", "sh"])
            .args([env!("CARGO_BIN_EXE_recost"), "run", "pipeline.toml"])
            .args(["--date", NIGHT, "--device", "cpu", "--log-format", "json"])
            .current_dir(shop.path())
            .output()
            .unwrap()
    };
    let refused = |what: &str, says: &str| {
        let out = night();
        let said = text(&out.stderr);
        assert_eq!(out.status.code(), Some(8), "{what}: {said}");
        assert!(
            said.contains("part-00000.parquet") && said.contains(says),
            "{what}: {said}"
        );
        assert!(!said.contains("panicked"), "{what}: {said}");
        assert_eq!(shop.published(), before, "{what}");
    };
    let wanted = [
        "gzip that says two gibibytes",
        "gzip that says ten bytes",
        "nested without end",
    ];
    let bombs: Vec<_> = bombs()
        .into_iter()
        .filter(|(what, _)| wanted.contains(what))
        .collect();
    assert_eq!(bombs.len(), wanted.len());
    for (what, bytes) in bombs {
        fs::write(&users, bytes).unwrap();
        refused(what, "read");
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let secret = elsewhere.path().join("secret.parquet");
    fs::write(&secret, &good).unwrap();
    fs::remove_file(&users).unwrap();
    std::os::unix::fs::symlink(&secret, &users).unwrap();
    refused("a link", "leads out of the source's folder");
    fs::remove_file(&users).unwrap();
    fs::write(&users, &good).unwrap();
    let out = night();
    assert!(out.status.success(), "{}", text(&out.stderr));
}
