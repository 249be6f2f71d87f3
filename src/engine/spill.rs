//! The engine's spill files, whose bytes are counted as they are written.

use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::{DiskManager, SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;
use object_store::PutPayload;

use crate::scratch;

/// The engine's type of bytes, by a name for it that is at hand.
type Bytes = <PutPayload as IntoIterator>::Item;

/// Makes files as the manager does, and counts what is written into them.
pub(super) struct Counted(pub Arc<DiskManager>);

impl TempFileFactory for Counted {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        Ok(Arc::new(File(self.0.create_tmp_file(description)?)))
    }
}

struct File(Arc<dyn SpillFile>);

impl SpillFile for File {
    fn path(&self) -> Option<&Path> {
        self.0.path()
    }

    fn size(&self) -> Option<u64> {
        self.0.size()
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        self.0.read_stream()
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        Ok(Box::new(Writer(self.0.open_writer()?)))
    }
}

struct Writer(Box<dyn SpillWriter>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.0.write(bytes)?;
        scratch::note_spilled(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        self.0.finish()
    }
}
