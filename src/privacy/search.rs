//! Looks for people in files, whatever these are: every text of a Parquet file as it is read, the ids of a model file, the
//! parts of a workbook, and the bytes of everything, headers and footers included.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use flate2::read::{DeflateDecoder, MultiGzDecoder};

use super::People;
use crate::decoder;
use crate::error::{Error, Result};
use crate::model::file as model_file;

/// Names of columns that hold nothing but user ids, in which the shortest id is one.
const USERS: &[&str] = &["user_id"];
/// Bytes that are looked at together; ids are shorter.
const CHUNK: usize = 1 << 20;
/// Bytes of the end of a chunk that are looked at again with the next.
const OVERLAP: usize = 4096;

/// A file that still names somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The file.
    pub file: PathBuf,
    /// Where in it: a column, or the bytes.
    pub place: String,
    /// How often.
    pub count: usize,
}

/// What was looked at, and what was found.
#[derive(Debug, Default)]
pub struct Searched {
    /// Files, hard links of one counted once.
    pub files: usize,
    /// Texts read out of Parquet and model files.
    pub texts: u64,
    /// Bytes of files.
    pub bytes: u64,
    /// Where somebody is named.
    pub hits: Vec<Hit>,
    seen: HashSet<(u64, u64)>,
}

impl Searched {
    /// Files in which somebody is named, each once.
    pub fn found(&self) -> Vec<&Path> {
        let mut files: Vec<&Path> = self.hits.iter().map(|h| h.file.as_path()).collect();
        files.sort();
        files.dedup();
        files
    }

    /// Searches every file of a folder and those below it. Links to folders are not followed: what they lead to is found
    /// where it lies.
    ///
    /// # Errors
    /// When a file cannot be read: it could not be said that nobody is in it.
    pub fn folder(&mut self, dir: &Path, people: &People) -> Result<()> {
        for path in files_below(dir)? {
            self.file(&path, people)?;
        }
        Ok(())
    }

    /// Searches a file, unless it was under another name before.
    ///
    /// # Errors
    /// As [`Searched::folder`].
    pub fn file(&mut self, path: &Path, people: &People) -> Result<()> {
        self.file_of(path, path, people)
    }

    /// The same of a file that is a copy of `name`, which is told where it names somebody.
    ///
    /// # Errors
    /// As [`Searched::folder`].
    pub fn file_of(&mut self, path: &Path, name: &Path, people: &People) -> Result<()> {
        let io = |e: std::io::Error| Error::io("cannot search", path, &e);
        let meta = std::fs::metadata(path).map_err(io)?;
        if !self.seen.insert((meta.dev(), meta.ino())) {
            return Ok(());
        }
        self.files += 1;
        let mut hits = vec![];
        let mut start = [0; 4];
        let mut file = File::open(path).map_err(io)?;
        let read = file.read(&mut start).map_err(io)?;
        match &start[..read] {
            b"PAR1" => self.parquet(path, people, &mut hits)?,
            b"PK\x03\x04" => self.workbook(path, people, &mut hits)?,
            [0x1f, 0x8b, ..] => {
                let mut packed = MultiGzDecoder::new(File::open(path).map_err(io)?);
                let (_, count) = bytes(&mut packed, people).map_err(io)?;
                note(&mut hits, "unpacked", count);
            }
            _ if path.extension().is_some_and(|e| e == "safetensors") => {
                let model = model_file::read(path)?;
                let ids = model.user_ids.iter();
                self.texts += model.user_ids.len() as u64;
                note(
                    &mut hits,
                    "user_ids",
                    ids.filter(|id| people.has(id)).count(),
                );
            }
            _ => {}
        }
        let mut file = File::open(path).map_err(io)?;
        let (length, count) = bytes(&mut file, people).map_err(io)?;
        self.bytes += length;
        note(&mut hits, "bytes", count);
        self.hits.extend(hits.into_iter().map(|(place, count)| Hit {
            file: name.to_path_buf(),
            place,
            count,
        }));
        Ok(())
    }

    fn parquet(
        &mut self,
        path: &Path,
        people: &People,
        hits: &mut Vec<(String, usize)>,
    ) -> Result<()> {
        for batch in decoder::read(path)? {
            let batch = batch?;
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                let of_users = USERS.contains(&field.name().as_str());
                let mut count = 0;
                self.texts += texts(column, &mut |text| {
                    count += if of_users {
                        usize::from(people.has(text))
                    } else {
                        people.named_in(text)
                    };
                })?;
                note(hits, field.name(), count);
            }
        }
        Ok(())
    }

    /// The parts of a ZIP container, as far as their sizes stand before them, as in our workbooks.
    fn workbook(
        &mut self,
        path: &Path,
        people: &People,
        hits: &mut Vec<(String, usize)>,
    ) -> Result<()> {
        let io = |e: std::io::Error| Error::io("cannot search", path, &e);
        let whole = std::fs::read(path).map_err(io)?;
        let mut rest = whole.as_slice();
        // Local file header: APPNOTE 6.3, section 4.3.7.
        while let Some(header) = rest.strip_prefix(b"PK\x03\x04").filter(|h| h.len() >= 26) {
            let short = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
            let packed = u32::from_le_bytes([header[14], header[15], header[16], header[17]]);
            let (method, packed) = (short(4), packed as usize);
            let data = 26 + short(22) + short(24);
            let Some(content) = header.get(data..data + packed) else {
                break;
            };
            let (_, count) = match method {
                8 => bytes(&mut DeflateDecoder::new(content), people),
                _ => bytes(&mut &content[..], people),
            }
            .map_err(io)?;
            note(hits, "unpacked", count);
            rest = &header[data + packed..];
        }
        Ok(())
    }
}

fn note(hits: &mut Vec<(String, usize)>, place: &str, count: usize) {
    if count == 0 {
        return;
    }
    match hits.iter_mut().find(|(known, _)| known == place) {
        Some((_, sum)) => *sum += count,
        None => hits.push((place.to_string(), count)),
    }
}

/// The bytes of a reader and how often they name somebody, a chunk at a time.
fn bytes(reader: &mut dyn Read, people: &People) -> std::io::Result<(u64, usize)> {
    let mut buffer = Vec::with_capacity(CHUNK + OVERLAP);
    let (mut length, mut count) = (0, 0);
    loop {
        let read = reader.take(CHUNK as u64).read_to_end(&mut buffer)?;
        length += read as u64;
        let end = read == 0 || read < CHUNK;
        count += people.named_in_bytes(&buffer);
        if end {
            return Ok((length, count));
        }
        // What lies in both is counted in both: it matters whether there is any.
        let from = buffer.len().saturating_sub(OVERLAP);
        buffer.drain(..from);
    }
}

/// Calls `visit` for every text in an array, in lists, maps and dictionaries too. Returns how many there are.
fn texts(array: &ArrayRef, visit: &mut dyn FnMut(&str)) -> Result<u64> {
    use DataType as D;
    match array.data_type() {
        D::Utf8 | D::LargeUtf8 | D::Utf8View => {
            let view = cast(array, &D::Utf8View)?;
            let mut count = 0;
            for text in view.as_string_view().iter().flatten() {
                visit(text);
                count += 1;
            }
            Ok(count)
        }
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => {
            let view = cast(array, &D::LargeBinary)?;
            let mut count = 0;
            for value in view.as_binary::<i64>().iter().flatten() {
                visit(&String::from_utf8_lossy(value));
                count += 1;
            }
            Ok(count)
        }
        D::Dictionary(_, values) => texts(&cast(array, values)?, visit),
        D::List(_) => texts(array.as_list::<i32>().values(), visit),
        D::LargeList(_) => texts(array.as_list::<i64>().values(), visit),
        D::FixedSizeList(..) => texts(array.as_fixed_size_list().values(), visit),
        D::Map(..) => {
            let entries = array.as_map().entries();
            let columns = entries.columns().iter();
            columns.map(|c| texts(c, visit)).sum()
        }
        D::Struct(_) => {
            let columns = array.as_struct().columns().iter();
            columns.map(|c| texts(c, visit)).sum()
        }
        _ => Ok(0),
    }
}

/// The files in a folder and those below it, sorted; none where there is no such folder.
///
/// # Errors
/// Those of the file system.
pub fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![];
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io("cannot list", &folder, &e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("cannot list", &folder, &e))?;
            let kind = entry
                .file_type()
                .map_err(|e| Error::io("cannot list", &folder, &e))?;
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => folders.push(entry.path()),
                (_, true) => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write as _;

    use arrow::array::{ListBuilder, MapBuilder, RecordBatch, StringArray, StringBuilder};
    use parquet::arrow::ArrowWriter;
    use std::sync::Arc;

    use super::*;

    fn people() -> People {
        People::new(["u000123", "7"], &[]).unwrap()
    }

    fn places(path: &Path) -> Vec<(String, usize)> {
        let mut searched = Searched::default();
        searched.file(path, &people()).unwrap();
        let hits = searched.hits.into_iter();
        hits.map(|h| (h.place, h.count))
            .filter(|(p, _)| p != "bytes")
            .collect()
    }

    #[test]
    fn texts_of_parquet_are_read_wherever_they_lie() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.parquet");
        let mut list = ListBuilder::new(StringBuilder::new());
        list.append_value([Some("x"), Some("seen by u000123")]);
        list.append_value([Some("u0001234")]);
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        map.keys().append_value("who");
        map.values().append_value("u000123");
        map.append(true).unwrap();
        map.append(true).unwrap();
        let users = StringArray::from(vec!["7", "u000124"]);
        let other = StringArray::from(vec!["7", "7"]);
        let batch = RecordBatch::try_from_iter([
            ("user_id", Arc::new(users) as ArrayRef),
            ("rank", Arc::new(other)),
            ("because", Arc::new(list.finish())),
            ("tags", Arc::new(map.finish())),
        ])
        .unwrap();
        let mut writer =
            ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let found = [("user_id", 1), ("because", 1), ("tags", 1)];
        assert_eq!(places(&path), found.map(|(p, n)| (p.to_string(), n)));
    }

    #[test]
    fn what_is_packed_is_unpacked_and_hard_links_are_searched_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv.gz");
        let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
        packed
            .write_all("a;b\n1;u000123\n".repeat(50).as_bytes())
            .unwrap();
        std::fs::write(&path, packed.finish().unwrap()).unwrap();
        assert_eq!(places(&path), [("unpacked".to_string(), 50)]);
        std::fs::hard_link(&path, dir.path().join("b.csv.gz")).unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("again")).unwrap();
        let mut searched = Searched::default();
        searched.folder(dir.path(), &people()).unwrap();
        assert_eq!((searched.files, searched.found().len()), (1, 1));
        // A name over the border of two chunks is not missed.
        let long = dir.path().join("long.txt");
        let mut text = vec![b' '; CHUNK - 3];
        text.extend(b"u000123 ");
        text.extend(vec![b' '; CHUNK]);
        std::fs::write(&long, text).unwrap();
        let mut searched = Searched::default();
        searched.file(&long, &people()).unwrap();
        assert_eq!(searched.hits.len(), 1);
    }
}
