//! Hashes of the keys that were seen, however many: which of them occur more than once.
//!
//! Beyond a bound on memory they go to spill files by ranges of their value. Equal ones meet in one file, so one file at a
//! time is sorted and nothing else is held.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::scratch::Spilled;

/// Ranges of hashes, by their first bits: a hundred million make files of 12 MiB.
const RANGES: usize = 64;

/// Hashes of keys.
#[derive(Debug)]
pub struct Seen {
    ranges: Vec<Range>,
    /// Hashes in memory.
    held: usize,
    /// How many may be.
    most: usize,
    /// Where spill files go.
    dir: PathBuf,
    spilled: Spilled,
    /// Bytes that spill files may take, all of the process together.
    limit: u64,
}

/// The hashes of one range.
#[derive(Debug, Default)]
struct Range {
    held: Vec<u64>,
    spilled: Option<File>,
}

impl Seen {
    /// None yet, of which about `bytes` are to be held in memory and the rest in files of the folder `dir`, as far as spill files
    /// may take `limit`.
    pub fn new(bytes: usize, dir: &Path, limit: u64) -> Self {
        Seen {
            ranges: (0..RANGES).map(|_| Range::default()).collect(),
            held: 0,
            most: (bytes / size_of::<u64>()).max(RANGES),
            dir: dir.to_path_buf(),
            spilled: Spilled::default(),
            limit,
        }
    }

    /// Adds hashes.
    ///
    /// # Errors
    /// When a spill file cannot be written, or would be too large.
    pub fn add(&mut self, hashes: impl Iterator<Item = u64>) -> Result<()> {
        for hash in hashes {
            self.ranges[range(hash)].held.push(hash);
            self.held += 1;
            if self.held >= self.most {
                self.spill()?;
            }
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        for range in &mut self.ranges {
            let io = |e| Error::io("cannot write a spill file in", &self.dir, &e);
            let file = match &mut range.spilled {
                Some(file) => file,
                none => none.insert(tempfile::tempfile_in(&self.dir).map_err(io)?),
            };
            let hashes = std::mem::take(&mut range.held);
            let bytes: Vec<u8> = hashes.iter().flat_map(|h| h.to_ne_bytes()).collect();
            self.spilled
                .add(bytes.len() as u64, self.limit)
                .map_err(|_| Error::spill_limit())?;
            file.write_all(&bytes).map_err(io)?;
        }
        self.held = 0;
        Ok(())
    }

    /// Those that were added more than once.
    ///
    /// # Errors
    /// When a spill file cannot be read.
    pub fn repeated(self) -> Result<HashSet<u64>> {
        let mut repeated = HashSet::new();
        for mut range in self.ranges {
            if let Some(file) = range.spilled {
                let read = read(file, &mut range.held);
                read.map_err(|e| Error::io("cannot read a spill file in", &self.dir, &e))?;
            }
            range.held.sort_unstable();
            let twice = range.held.windows(2).filter(|pair| pair[0] == pair[1]);
            repeated.extend(twice.map(|pair| pair[0]));
        }
        Ok(repeated)
    }
}

fn range(hash: u64) -> usize {
    (hash >> (u64::BITS - RANGES.ilog2())) as usize
}

fn read(mut file: File, hashes: &mut Vec<u64>) -> std::io::Result<()> {
    file.rewind()?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    let mut bytes = [0; size_of::<u64>()];
    loop {
        match file.read_exact(&mut bytes) {
            Ok(()) => hashes.push(u64::from_ne_bytes(bytes)),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_added_twice_is_repeated_in_memory_and_over_files() {
        let dir = tempfile::tempdir().unwrap();
        let spread = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let expected: HashSet<u64> = (0..500).map(spread).collect();
        for bytes in [0, 8 * 1000, usize::MAX] {
            let mut seen = Seen::new(bytes, dir.path(), u64::MAX);
            seen.add((0..5000).map(spread)).unwrap();
            seen.add((0..500).map(spread)).unwrap();
            seen.add((0..250).map(spread)).unwrap();
            assert_eq!(seen.repeated().unwrap(), expected, "{bytes}");
        }
        let mut seen = Seen::new(0, dir.path(), 0);
        let full = seen.add((0..5000).map(spread)).unwrap_err();
        let remedy = full.remedy().unwrap();
        assert!(remedy.contains("spill_limit"), "{full}");
        assert!(
            std::fs::read_dir(dir.path()).unwrap().next().is_none(),
            "they have no name"
        );
    }
}
