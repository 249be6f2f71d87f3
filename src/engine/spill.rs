//! The engine's spill files, whose bytes are counted as they are written: those of all sessions have one limit.

use std::io::Write;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::{DiskManager, SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;
use object_store::PutPayload;

use crate::scratch::Spilled;

/// The engine's type of bytes, by a name for it that is at hand.
type Bytes = <PutPayload as IntoIterator>::Item;

/// Makes files as the manager does, and counts what is written into them, up to `limit` in all of this process.
pub(super) struct Counted {
    pub files: Arc<DiskManager>,
    pub limit: u64,
}

impl TempFileFactory for Counted {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>> {
        Ok(Arc::new(File {
            file: self.files.create_tmp_file(description)?,
            spilled: Arc::default(),
            limit: self.limit,
        }))
    }
}

struct File {
    file: Arc<dyn SpillFile>,
    spilled: Arc<Spilled>,
    limit: u64,
}

impl SpillFile for File {
    fn path(&self) -> Option<&Path> {
        self.file.path()
    }

    fn size(&self) -> Option<u64> {
        self.file.size()
    }

    fn read_stream(&self) -> Result<Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>> {
        self.file.read_stream()
    }

    fn open_writer(&self) -> Result<Box<dyn SpillWriter>> {
        Ok(Box::new(Writer {
            writer: self.file.open_writer()?,
            spilled: Arc::clone(&self.spilled),
            limit: self.limit,
        }))
    }
}

struct Writer {
    writer: Box<dyn SpillWriter>,
    spilled: Arc<Spilled>,
    limit: u64,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.spilled.add(bytes.len() as u64, self.limit)?;
        self.writer.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> Result<()> {
        self.writer.finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use datafusion::physical_plan::{ExecutionPlan, collect};

    use super::*;
    use crate::engine::{Engine, Options};
    use crate::scratch;

    /// Bytes that a plan's operators say they spilled.
    fn said(plan: &dyn ExecutionPlan) -> usize {
        let own = plan.metrics().and_then(|m| m.spilled_bytes()).unwrap_or(0);
        let inputs = plan.children().into_iter();
        own + inputs.map(|input| said(input.as_ref())).sum::<usize>()
    }

    #[tokio::test]
    async fn what_a_query_spills_is_counted() {
        let spill = tempfile::tempdir().unwrap();
        let options = Options {
            memory: 32 << 20,
            threads: 1,
            spill: Some(spill.path().to_path_buf()),
            spill_limit: u64::MAX,
            settings: BTreeMap::new(),
            date: "2026-10-31".parse().unwrap(),
            month: None,
            lateness_days: 0,
        };
        let engine = Engine::open(&options, None, None).unwrap();
        let sql = "select value, concat('a text of some length ', value) as said
                   from generate_series(1, 800000) order by value desc";
        let frame = engine.query(sql).await.unwrap();
        let plan = frame.create_physical_plan().await.unwrap();
        let before = scratch::spilled();
        let rows = collect(Arc::clone(&plan), engine.context().task_ctx());
        let rows: usize = rows.await.unwrap().iter().map(|b| b.num_rows()).sum();
        assert_eq!(rows, 800_000);
        let said = said(plan.as_ref()) as u64;
        // Other tests of this process may spill, too.
        assert!(said > 1 << 20, "{said}");
        assert!(scratch::spilled() - before >= said);

        // The bound on all of them together holds for what is counted.
        let options = Options {
            spill_limit: 1 << 20,
            ..options
        };
        let engine = Engine::open(&options, None, None).unwrap();
        let full = engine.collect(sql).await.unwrap_err();
        let remedy = full.remedy().unwrap_or_default();
        assert!(remedy.contains("spill_limit"), "{full}");
    }
}
