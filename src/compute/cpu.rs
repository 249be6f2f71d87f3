//! The CPU device: rayon threads of the current pool, SIMD by what the processor has.

use super::aligned::AlignedTable;
use super::als::by_halves;
use super::cpu_trainer::CpuTrainer;
use super::kernels::score_int8::{self, Unit};
use super::kernels::{als_cg, gram, score_topk};
use super::{
    Als, AlsSolve, ComputeError, Device, DeviceInfo, Interactions, Isa, Kind, Matrix, MatrixView,
    Query, Recipe, Scorer, TopK, Trainer, available_items, check_als, check_tables,
};
use crate::features::csr::Csr;
use std::sync::OnceLock;

/// Computes on the processor. Results do not depend on the number of threads.
#[derive(Debug)]
pub struct CpuDevice {
    isa: Isa,
    info: DeviceInfo,
}

impl CpuDevice {
    /// With the best instruction set of this processor.
    pub fn new() -> Self {
        Self::with_isa(Isa::detect())
    }

    /// With a given instruction set; one that the processor lacks is replaced by scalar code.
    pub fn with_isa(isa: Isa) -> Self {
        let isa = if isa.is_available() { isa } else { Isa::Scalar };
        let info = DeviceInfo {
            name: "cpu".to_owned(),
            kind: Kind::Cpu,
            backend: isa.name().to_owned(),
            max_buffer_bytes: None,
            max_binding_bytes: None,
        };
        Self { isa, info }
    }
}

impl Default for CpuDevice {
    fn default() -> Self {
        Self::new()
    }
}

impl Device for CpuDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn gram(&self, table: MatrixView<'_>, lambda: f32) -> Result<Matrix, ComputeError> {
        let dim = table.cols();
        let table = AlignedTable::new(table);
        let padded = gram::cpu(self.isa, &table, dim, lambda);
        let mut out = Matrix::zeros(dim, dim);
        for (i, row) in out.data_mut().chunks_exact_mut(dim.max(1)).enumerate() {
            row.copy_from_slice(&padded.floats()[i * table.stride..i * table.stride + dim]);
        }
        Ok(out)
    }

    fn als_half(
        &self,
        fixed: MatrixView<'_>,
        interactions: &Csr,
        solve: AlsSolve,
        x: &mut Matrix,
    ) -> Result<(), ComputeError> {
        check_als(fixed, interactions, x)?;
        let table = AlignedTable::new(fixed);
        let gram = gram::cpu(self.isa, &table, fixed.cols(), solve.lambda);
        als_cg::cpu(self.isa, &table, &gram, interactions, solve, x);
        Ok(())
    }

    fn als<'a>(
        &'a self,
        interactions: Interactions<'a>,
        users: Matrix,
        items: Matrix,
        solve: AlsSolve,
    ) -> Result<Box<dyn Als + 'a>, ComputeError> {
        Ok(by_halves(self, interactions, (users, items), solve))
    }

    fn trainer<'a>(
        &'a self,
        users: &Matrix,
        items: &Matrix,
        recipe: Recipe,
    ) -> Result<Box<dyn Trainer + 'a>, ComputeError> {
        check_tables(users, items)?;
        Ok(Box::new(CpuTrainer::new(self.isa, users, items, recipe)))
    }

    fn scorer<'a>(
        &'a self,
        items: MatrixView<'a>,
        available: Option<&[bool]>,
    ) -> Result<Box<dyn Scorer + 'a>, ComputeError> {
        let ids = available_items(items.rows(), available)?;
        Ok(Box::new(CpuScorer {
            isa: self.isa,
            integers: score_int8::Panels::new(Unit::of(self.isa), items, &ids),
            floats: OnceLock::new(),
            items,
            ids,
        }))
    }
}

struct CpuScorer<'a> {
    isa: Isa,
    /// Where the items' rows are integers times a scale; users who are not so are scored by `floats`.
    integers: Option<score_int8::Panels>,
    floats: OnceLock<score_topk::Panels>,
    items: MatrixView<'a>,
    ids: Vec<u32>,
}

impl Scorer for CpuScorer<'_> {
    fn top_k(&self, query: &Query<'_>) -> Result<TopK, ComputeError> {
        query.check(self.items.rows(), self.items.cols())?;
        if let Some(panels) = &self.integers
            && let Some(lists) = score_int8::cpu(panels, query)
        {
            return Ok(lists);
        }
        let panels = || score_topk::Panels::new(self.isa, self.items, self.ids.clone());
        Ok(score_topk::cpu(self.floats.get_or_init(panels), query))
    }
}
