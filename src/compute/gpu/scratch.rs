//! Buffers that are used again in each step of a training: to make them anew takes longer than what the device does with them.

use super::engine::Engine;
use crate::compute::ComputeError;
use std::collections::BTreeMap;

/// Buffers by name. Within a submission each is written from the host at most once: all such writes come before its kernels.
#[derive(Default)]
pub(super) struct Scratch(BTreeMap<&'static str, wgpu::Buffer>);

impl Scratch {
    /// A buffer of at least `bytes`, with whatever it held last.
    pub fn room(
        &mut self,
        engine: &Engine,
        what: &'static str,
        bytes: u64,
    ) -> Result<wgpu::Buffer, ComputeError> {
        engine.fits(what, bytes)?;
        if let Some(buffer) = self.0.get(what)
            && buffer.size() >= bytes
        {
            return Ok(buffer.clone());
        }
        // Batches differ a little in what they need.
        let most = engine.limits().binding_bytes;
        let buffer = engine.zeroed(what, bytes.next_power_of_two().min(most).max(bytes))?;
        self.0.insert(what, buffer.clone());
        Ok(buffer)
    }

    /// A buffer that begins with `data`.
    pub fn upload<T: bytemuck::Pod + Send + Sync>(
        &mut self,
        engine: &Engine,
        what: &'static str,
        data: &[T],
    ) -> Result<wgpu::Buffer, ComputeError> {
        let buffer = self.room(engine, what, size_of_val(data) as u64)?;
        engine.write(what, &buffer, data)?;
        Ok(buffer)
    }
}
