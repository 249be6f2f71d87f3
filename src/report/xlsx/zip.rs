//! A ZIP container, as far as a workbook needs one: deflated files, no times, the same bytes for the same content.
//!
//! Layout: PKWARE APPNOTE 6.3, sections 4.3.7 (local file header), 4.3.12 (central directory) and 4.3.16 (its end).

use std::io::{self, Write};

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};

/// 1 January 1980, the first day that the format can name.
const DAY: u16 = (1 << 5) | 1;
const VERSION: u16 = 20;
const DEFLATED: u16 = 8;
/// Names are UTF-8.
const UTF8: u16 = 1 << 11;

/// A container under construction.
#[derive(Default)]
pub struct Zip {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    files: u16,
}

impl Zip {
    /// Adds a file; names are paths with `/`.
    ///
    /// # Errors
    /// When something is larger than the format without its 64-bit extension can say (4 GiB).
    pub fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content)?;
        let packed = encoder.finish()?;
        let mut crc = Crc::new();
        crc.update(content);
        let mut about = Vec::with_capacity(26);
        for field in [VERSION, UTF8, DEFLATED, 0, DAY] {
            about.extend(field.to_le_bytes());
        }
        about.extend(crc.sum().to_le_bytes());
        about.extend(size(packed.len())?);
        about.extend(size(content.len())?);
        about.extend(short(name.len())?);
        about.extend([0, 0]);

        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend(&about);
        // No comment, first disk, no attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(size(self.bytes.len())?);
        self.directory.extend(name.as_bytes());

        self.bytes.extend(b"PK\x03\x04");
        self.bytes.extend(&about);
        self.bytes.extend(name.as_bytes());
        self.bytes.extend(&packed);
        self.files = self.files.checked_add(1).ok_or_else(too_large)?;
        Ok(())
    }

    /// The whole container.
    ///
    /// # Errors
    /// As [`Zip::add`].
    pub fn done(mut self) -> io::Result<Vec<u8>> {
        let start = size(self.bytes.len())?;
        let length = size(self.directory.len())?;
        self.bytes.append(&mut self.directory);
        self.bytes.extend(b"PK\x05\x06\0\0\0\0");
        self.bytes.extend(self.files.to_le_bytes());
        self.bytes.extend(self.files.to_le_bytes());
        self.bytes.extend(length);
        self.bytes.extend(start);
        self.bytes.extend([0, 0]);
        Ok(self.bytes)
    }
}

fn size(length: usize) -> io::Result<[u8; 4]> {
    let length = u32::try_from(length).map_err(|_| too_large())?;
    Ok(length.to_le_bytes())
}

fn short(length: usize) -> io::Result<[u8; 2]> {
    let length = u16::try_from(length).map_err(|_| too_large())?;
    Ok(length.to_le_bytes())
}

fn too_large() -> io::Error {
    io::Error::other("the workbook is larger than a ZIP container can hold")
}
