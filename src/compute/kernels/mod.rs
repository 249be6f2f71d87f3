//! Kernels: `<name>.wgsl` for GPUs beside `<name>.rs`, the CPU twin and the parameters that both read.

pub mod als_cg;
pub mod gram;
pub mod score_topk;

#[cfg(test)]
mod layout;
