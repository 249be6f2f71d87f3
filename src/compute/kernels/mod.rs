//! Kernels: `<name>.wgsl` for GPUs beside `<name>.rs`, the CPU twin and the parameters that both read. What several shaders
//! share is in `dropout.wgsl` and `reduce.wgsl`, which are put before theirs. `score_int8` is of the CPU alone.

pub mod als_cg;
pub mod apply;
pub mod embed;
pub mod gather_grad;
pub mod gram;
pub mod product;
pub mod sample_loss;
pub mod score_int8;
pub mod score_topk;

#[cfg(test)]
mod layout;
