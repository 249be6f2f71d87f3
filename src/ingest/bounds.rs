//! What a Parquet file says of its sizes, held against bounds before anything is allocated or unpacked by it.
//!
//! A decoder believes a file: it makes room for as many row groups as the footer counts, descends as deep as the schema is
//! nested, and unpacks a page into as many bytes as come. So the footer and the header of each page, which are structs of
//! Thrift's compact protocol, are walked first. That costs one small read a page.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use super::reader::broken;
use super::thrift::{Compact, Damaged, Value};
use crate::error::{Error, Result};

/// Bytes of a footer.
const FOOTER: u64 = 32 << 20;
/// Groups within groups of a schema.
const DEPTH: usize = 64;
/// Nodes of a schema.
const NODES: u64 = 20_000;
/// Parts of a file, each of one column in one row group.
const CHUNKS: u64 = 250_000;
/// Bytes of a page's header; statistics in it can make it long.
const HEADER: u64 = 1 << 20;
/// Bytes that are first read for one.
const USUAL_HEADER: u64 = 4 << 10;
/// What a byte of DEFLATE and of an LZ4 block can become at most.
const GZIP_RATIO: u64 = 1032;
const LZ4_RATIO: u64 = 255;
const LZ4_FRAME: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

fn refused(path: &Path, what: &str, remedy: &str) -> Error {
    Error::contract(format!("{} is not read: {what}", path.display())).help(remedy.to_string())
}

fn damaged(path: &Path, what: &str) -> Error {
    broken(path, &what)
}

/// Holds the footer against the bounds.
///
/// # Errors
/// `Kind::Contract` when it is damaged or beyond them.
pub(super) fn footer(path: &Path, file: &File) -> Result<()> {
    let io = |e: io::Error| super::files::vanished(path, &e);
    let bytes = file.metadata().map_err(io)?.len();
    let mut end = [0; 8];
    let Some(at) = bytes.checked_sub(8) else {
        return Err(damaged(path, "it is shorter than a footer"));
    };
    file.read_exact_at(&mut end, at).map_err(io)?;
    let [a, b, c, d, magic @ ..] = end;
    if &magic != b"PAR1" {
        return Err(damaged(path, "it has no footer"));
    }
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    let Some(start) = at.checked_sub(length) else {
        return Err(damaged(path, "its footer would begin before it"));
    };
    if length > FOOTER {
        return Err(refused(
            path,
            &format!("its footer has {length} bytes, and {FOOTER} are read at most"),
            "write fewer and larger row groups",
        ));
    }
    let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut text, start).map_err(io)?;
    let shape = shape(&text).map_err(|Damaged| damaged(path, "its footer is damaged"))?;
    let over = |what: String, remedy: &str| Err(refused(path, &what, remedy));
    if shape.depth > DEPTH {
        return over(
            format!("its schema is nested deeper than {DEPTH} groups"),
            "flatten the columns",
        );
    }
    if shape.nodes > NODES {
        return over(
            format!("its schema has {} nodes, {NODES} at most", shape.nodes),
            "export fewer columns",
        );
    }
    let chunks = shape.groups.saturating_mul(shape.leaves.max(1));
    if chunks > CHUNKS {
        return over(
            format!(
                "it has {} row groups of {} columns: {CHUNKS} parts are read at most",
                shape.groups, shape.leaves
            ),
            "write fewer and larger row groups",
        );
    }
    Ok(())
}

/// What a footer counts.
#[derive(Debug, Default)]
struct Shape {
    nodes: u64,
    leaves: u64,
    depth: usize,
    groups: u64,
}

/// Walks a `FileMetaData`.
fn shape(footer: &[u8]) -> Result<Shape, Damaged> {
    let mut shape = Shape::default();
    Compact::new(footer).fields(&mut |field, value, walk| {
        match (field, value) {
            (2, Value::List(count)) => {
                shape.nodes = count;
                // Children still to come, of each group that is open.
                let mut open: Vec<i64> = vec![];
                for _ in 0..count.min(NODES) {
                    let mut children = 0;
                    walk.fields(&mut |field, value, walk| {
                        if let (5, Value::Int(n)) = (field, value) {
                            children = n;
                            return Ok(());
                        }
                        walk.skip(value)
                    })?;
                    while open.last() == Some(&0) {
                        open.pop();
                    }
                    if let Some(left) = open.last_mut() {
                        *left -= 1;
                    }
                    if children > 0 {
                        open.push(children);
                        shape.depth = shape.depth.max(open.len());
                    } else {
                        shape.leaves += 1;
                    }
                    if shape.depth > DEPTH {
                        return Ok(());
                    }
                }
                Ok(())
            }
            (4, Value::List(count)) => {
                shape.groups = count;
                walk.skip(value)
            }
            _ => walk.skip(value),
        }
    })?;
    Ok(shape)
}

/// Holds the rows of the file against those of its row groups.
///
/// # Errors
/// `Kind::Contract` when they are not the same.
pub(super) fn rows(path: &Path, metadata: &ParquetMetaData) -> Result<()> {
    let mut groups = metadata.row_groups().iter().map(|g| g.num_rows());
    let sum = groups.try_fold(0_i64, |sum, rows| {
        sum.checked_add(rows).filter(|_| rows >= 0)
    });
    match sum {
        Some(sum) if sum == metadata.file_metadata().num_rows() => Ok(()),
        _ => Err(damaged(path, "its row groups do not add up to its rows")),
    }
}

/// A page, as its header says.
#[derive(Debug, Default, Clone, Copy)]
struct Page {
    unpacked: u64,
    packed: u64,
    values: u64,
    is_dictionary: bool,
    /// Bytes before what is packed.
    levels: u64,
    is_packed: bool,
}

/// Holds the pages of a file against `most`, the bytes that those may take which are in memory at once: of each column of a
/// row group the dictionary and one page.
///
/// # Errors
/// `Kind::Contract` when they would take more or unpack into more than they say, and where they do not lie in the file.
pub(super) fn pages(path: &Path, file: &File, metadata: &ParquetMetaData, most: u64) -> Result<()> {
    let io = |e: io::Error| super::files::vanished(path, &e);
    let bytes = file.metadata().map_err(io)?.len();
    for group in metadata.row_groups() {
        let mut open = 0_u64;
        for chunk in group.columns() {
            let (mut at, end) = place(chunk)
                .filter(|(_, end)| *end <= bytes)
                .ok_or_else(|| damaged(path, "a column does not lie in it"))?;
            let (mut dictionary, mut largest, mut values) = (0, 0, 0_u64);
            while at < end {
                let (length, page) = header(file, at, end)
                    .map_err(io)?
                    .ok_or_else(|| damaged(path, "the header of a page is damaged"))?;
                at += length;
                if page.packed > end - at {
                    return Err(damaged(path, "a page goes on beyond its column"));
                }
                // Levels are two numbers of 16 bits a value.
                let size = page.packed + page.unpacked + page.values.saturating_mul(4);
                if page.is_dictionary {
                    dictionary = size.max(dictionary);
                } else {
                    largest = size.max(largest);
                    values = values.saturating_add(page.values);
                }
                if open + dictionary + largest > most {
                    return Err(refused(
                        path,
                        &format!(
                            "with the pages of column {} it would take more than the {most} bytes that one file may",
                            chunk.column_path()
                        ),
                        "write smaller pages and row groups, or raise `[engine] memory`",
                    ));
                }
                if page.is_packed && !keeps_to_size(file, at, page, chunk.compression(), most) {
                    return Err(damaged(
                        path,
                        "a page holds more than it says, or cannot be unpacked",
                    ));
                }
                at += page.packed;
            }
            // Of a list a row may have several.
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            let flat = chunk.column_descr().max_rep_level() == 0;
            if values < rows || (flat && values > rows) {
                return Err(damaged(path, "a column has not as many values as rows"));
            }
            open += dictionary + largest;
        }
    }
    Ok(())
}

/// Where a chunk begins and ends.
fn place(chunk: &ColumnChunkMetaData) -> Option<(u64, u64)> {
    let start = chunk
        .dictionary_page_offset()
        .unwrap_or(chunk.data_page_offset());
    let (start, length) = (
        u64::try_from(start).ok()?,
        u64::try_from(chunk.compressed_size()).ok()?,
    );
    Some((start, start.checked_add(length)?))
}

/// The header of the page at `at`, and its length.
fn header(file: &File, at: u64, end: u64) -> io::Result<Option<(u64, Page)>> {
    for length in [USUAL_HEADER, HEADER] {
        let length = length.min(end - at);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, at)?;
        let mut walk = Compact::new(&bytes);
        if let Ok(page) = page(&mut walk) {
            return Ok(page.map(|page| (walk.at(), page)));
        }
    }
    Ok(None)
}

/// Walks a `PageHeader`; `None` when it says what cannot be.
fn page(walk: &mut Compact<'_>) -> Result<Option<Page>, Damaged> {
    let mut page = Page {
        is_packed: true,
        ..Page::default()
    };
    let mut possible = true;
    let mut size = |n: i64| {
        u64::try_from(n).unwrap_or_else(|_| {
            possible = false;
            0
        })
    };
    walk.fields(&mut |field, value, walk| {
        match (field, value) {
            (2, Value::Int(n)) => page.unpacked = size(n),
            (3, Value::Int(n)) => page.packed = size(n),
            (5 | 7 | 8, Value::Struct) => {
                page.is_dictionary = field == 7;
                return walk.fields(&mut |inner, value, walk| {
                    match (inner, value) {
                        (1, Value::Int(n)) => page.values = size(n),
                        (5 | 6, Value::Int(n)) if field == 8 => {
                            page.levels = page.levels.saturating_add(size(n));
                        }
                        (7, Value::Bool(packed)) if field == 8 => page.is_packed = packed,
                        _ => return walk.skip(value),
                    }
                    Ok(())
                });
            }
            _ => return walk.skip(value),
        }
        Ok(())
    })?;
    let fits = page.levels <= page.unpacked.min(page.packed);
    Ok((possible && fits).then_some(page))
}

/// Whether a page unpacks into no more than it says. The other forms are unpacked into as many bytes as that and no more.
fn keeps_to_size(file: &File, at: u64, page: Page, form: Compression, most: u64) -> bool {
    let packed = page.packed - page.levels;
    let input = Part {
        file,
        at: at + page.levels,
        left: packed,
    };
    let counted = |unpacked: &mut dyn Read| {
        let says = page.unpacked - page.levels;
        let mut limited = unpacked.take(says.saturating_add(1));
        io::copy(&mut limited, &mut io::sink()).is_ok_and(|found| found <= says)
    };
    match form {
        Compression::GZIP(_) if packed.saturating_mul(GZIP_RATIO) > most => {
            counted(&mut MultiGzDecoder::new(io::BufReader::new(input)))
        }
        Compression::BROTLI(_) if page.unpacked > page.levels => {
            counted(&mut brotli::Decompressor::new(input, 64 << 10))
        }
        // One of three forms that are all called so; the others say their size.
        Compression::LZ4 if packed.saturating_mul(LZ4_RATIO) > most => {
            let mut magic = [0; 4];
            let read = file.read_exact_at(&mut magic, at + page.levels);
            read.is_ok() && magic != LZ4_FRAME
        }
        _ => true,
    }
}

/// A part of a file.
struct Part<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}
