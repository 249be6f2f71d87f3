//! Buffers, pipelines, dispatch and reading back, with every failure turned into an error that names the adapter.

use crate::compute::ComputeError;
use futures::executor::block_on;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the adapter can hold at once; larger work is split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuLimits {
    /// Largest storage binding, in bytes.
    pub binding_bytes: u64,
    /// Largest number of workgroups in one dimension of a dispatch.
    pub groups: u32,
    /// Memory that a workgroup shares, in bytes.
    pub shared_bytes: u32,
    /// Loop iterations that an invocation may make. Mesa's software rasteriser silently leaves every loop once 65,535
    /// are spent (`LP_MAX_TGSI_LOOP_ITERATIONS`), which would give wrong results.
    pub iterations: u64,
    /// A dispatch is cut shorter when it takes longer: displays freeze and watchdogs bite.
    pub dispatch_time: Duration,
}

/// Buffers are filled in parts of so many bytes, each by one thread.
const PART_BYTES: usize = 256 << 10;

/// Parts that are filled before they go to where the device reads them.
const BATCH_BYTES: usize = 8 << 20;

/// A shader and one of its entry points.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    pub source: &'static str,
    pub entry: &'static str,
}

type PipelineKey = (&'static str, Vec<(&'static str, u32)>);

pub(super) struct Engine {
    adapter: String,
    device: wgpu::Device,
    queue: wgpu::Queue,
    limits: GpuLimits,
    /// Why the device was lost, once it is.
    lost: Arc<Mutex<Option<String>>>,
    pipelines: Mutex<BTreeMap<PipelineKey, wgpu::ComputePipeline>>,
}

impl Engine {
    pub fn open(
        adapter: &wgpu::Adapter,
        limits: impl FnOnce(GpuLimits) -> GpuLimits,
    ) -> Result<Self, ComputeError> {
        let name = adapter.get_info().name;
        let offered = adapter.limits();
        let (device, queue) = block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("recost"),
            required_limits: offered.clone(),
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        }))
        .map_err(|error| ComputeError::Open {
            adapter: name.clone(),
            reason: error.to_string(),
        })?;
        let lost = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&lost);
        device.set_device_lost_callback(move |reason, message| {
            record(&slot, format!("{reason:?}: {message}"));
        });
        // Without a handler wgpu panics. What no scope has caught makes every later result doubtful.
        let slot = Arc::clone(&lost);
        device.on_uncaptured_error(Arc::new(move |error| record(&slot, error.to_string())));
        // Whole rows of vec4s are bound, and offsets in shaders are u32.
        let binding = offered
            .max_storage_buffer_binding_size
            .min(offered.max_buffer_size)
            .min(u64::from(u32::MAX));
        let limits = limits(GpuLimits {
            binding_bytes: binding,
            groups: offered.max_compute_workgroups_per_dimension,
            shared_bytes: offered.max_compute_workgroup_storage_size,
            iterations: if adapter.get_info().device_type == wgpu::DeviceType::Cpu {
                60_000
            } else {
                u64::MAX
            },
            dispatch_time: Duration::from_millis(25),
        });
        Ok(Self {
            adapter: name,
            device,
            queue,
            limits,
            lost,
            pipelines: Mutex::new(BTreeMap::new()),
        })
    }

    pub fn limits(&self) -> GpuLimits {
        self.limits
    }

    /// A storage buffer filled with `data`; at least one vec4 long, as bindings must not be empty.
    pub fn upload<T: bytemuck::Pod + Send + Sync>(
        &self,
        what: &'static str,
        data: &[T],
    ) -> Result<wgpu::Buffer, ComputeError> {
        let buffer = self.zeroed(what, size_of_val(data) as u64)?;
        self.write(what, &buffer, data)?;
        Ok(buffer)
    }

    /// A storage buffer of `count` values, filled on all threads: `fill(first, part)` writes those from `first` on, a
    /// multiple of 256.
    pub fn upload_with<T: bytemuck::Pod + Send + Sync>(
        &self,
        what: &'static str,
        count: usize,
        fill: impl Fn(usize, &mut [T]) + Sync,
    ) -> Result<wgpu::Buffer, ComputeError> {
        let buffer = self.zeroed(what, (count * size_of::<T>()) as u64)?;
        self.write_with(what, &buffer, count, fill)?;
        Ok(buffer)
    }

    /// Writes the first values of a buffer before the next submission begins.
    pub fn write<T: bytemuck::Pod + Send + Sync>(
        &self,
        what: &'static str,
        buffer: &wgpu::Buffer,
        data: &[T],
    ) -> Result<(), ComputeError> {
        self.write_with(what, buffer, data.len(), |first, part| {
            part.copy_from_slice(&data[first..first + part.len()]);
        })
    }

    fn write_with<T: bytemuck::Pod + Send + Sync>(
        &self,
        what: &'static str,
        buffer: &wgpu::Buffer,
        count: usize,
        fill: impl Fn(usize, &mut [T]) + Sync,
    ) -> Result<(), ComputeError> {
        let Some(bytes) = wgpu::BufferSize::new((count * size_of::<T>()) as u64) else {
            return Ok(());
        };
        let staged = self.scoped(what, || self.queue.write_buffer_with(buffer, 0, bytes))?;
        let Some(mut staged) = staged else {
            // A lost device has nothing to write to either.
            let _ = self.device.poll(wgpu::PollType::Poll);
            self.alive()?;
            return Err(ComputeError::OutOfMemory {
                adapter: self.adapter.clone(),
                doing: what.to_owned(),
            });
        };
        let part = PART_BYTES / size_of::<T>();
        let batch = BATCH_BYTES / size_of::<T>();
        let mut values = vec![T::zeroed(); batch.min(count)];
        for first in (0..count).step_by(batch) {
            let values = &mut values[..batch.min(count - first)];
            if values.len() <= part {
                // Other threads take longer to wake.
                fill(first, values);
            } else {
                let parts = values.par_chunks_mut(part).enumerate();
                parts.for_each(|(i, values)| fill(first + i * part, values));
            }
            let at = first * size_of::<T>();
            let bytes = bytemuck::cast_slice(values);
            staged.slice(at..at + bytes.len()).copy_from_slice(bytes);
        }
        // What is written is queued when the view goes.
        self.scoped(what, || drop(staged))
    }

    /// A storage buffer of zeros.
    pub fn zeroed(&self, what: &'static str, bytes: u64) -> Result<wgpu::Buffer, ComputeError> {
        self.fits(what, bytes)?;
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_DST
            | wgpu::BufferUsages::COPY_SRC;
        self.buffer(what, bytes, usage)
    }

    /// A buffer that is copied to and from and that no kernel sees.
    pub fn unbound(&self, what: &'static str, bytes: u64) -> Result<wgpu::Buffer, ComputeError> {
        let usage = wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        self.buffer(what, bytes, usage)
    }

    /// Whether `bytes` can be bound at once.
    pub fn fits(&self, what: &str, bytes: u64) -> Result<(), ComputeError> {
        if bytes > self.limits.binding_bytes {
            return Err(self.too_large(what, bytes, self.limits.binding_bytes));
        }
        Ok(())
    }

    pub fn too_large(&self, what: &str, needed: u64, allowed: u64) -> ComputeError {
        ComputeError::TooLarge {
            adapter: self.adapter.clone(),
            what: what.to_owned(),
            needed,
            allowed,
        }
    }

    /// The pipeline of a kernel with its override constants, made once.
    pub fn pipeline(
        &self,
        kernel: Kernel,
        constants: &[(&'static str, u32)],
    ) -> Result<wgpu::ComputePipeline, ComputeError> {
        let mut pipelines = self
            .pipelines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let key = (kernel.entry, constants.to_vec());
        if let Some(pipeline) = pipelines.get(&key) {
            return Ok(pipeline.clone());
        }
        let pipeline = self.scoped(kernel.entry, || {
            let source = wgpu::ShaderModuleDescriptor {
                label: Some(kernel.entry),
                source: wgpu::ShaderSource::Wgsl(kernel.source.into()),
            };
            let checks = wgpu::ShaderRuntimeChecks {
                force_loop_bounding: false,
                ..wgpu::ShaderRuntimeChecks::checked()
            };
            // SAFETY: every loop of our kernels ends, so none needs a counter of its own; all else is checked.
            let module = unsafe { self.device.create_shader_module_trusted(source, checks) };
            let constants: Vec<_> = constants
                .iter()
                .map(|&(name, value)| (name, f64::from(value)))
                .collect();
            self.device
                .create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                    label: Some(kernel.entry),
                    layout: None,
                    module: &module,
                    entry_point: Some(kernel.entry),
                    compilation_options: wgpu::PipelineCompilationOptions {
                        constants: &constants,
                        zero_initialize_workgroup_memory: false,
                    },
                    cache: None,
                })
        })?;
        pipelines.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    /// Runs a kernel to its end and returns how long it took: see [`Commands::dispatch`].
    pub fn dispatch<P: bytemuck::Pod>(
        &self,
        what: &'static str,
        pipeline: &wgpu::ComputePipeline,
        params: &P,
        buffers: &[(u32, &wgpu::Buffer)],
        groups: [u32; 2],
    ) -> Result<Duration, ComputeError> {
        let start = Instant::now();
        let mut commands = Commands::new(self)?;
        commands.dispatch(what, pipeline, params, buffers, groups)?;
        let submitted = commands.submit()?;
        self.wait(what, submitted)?;
        Ok(start.elapsed())
    }

    /// `count` values of a buffer, from value `first` on.
    pub fn read<T: bytemuck::Pod>(
        &self,
        what: &'static str,
        buffer: &wgpu::Buffer,
        first: usize,
        count: usize,
    ) -> Result<Vec<T>, ComputeError> {
        self.read_with(what, buffer, first, count, <[T]>::to_vec)
    }

    /// What `take` makes of `count` values of a buffer, from value `first` on.
    pub fn read_with<T: bytemuck::Pod, R>(
        &self,
        what: &'static str,
        buffer: &wgpu::Buffer,
        first: usize,
        count: usize,
        take: impl FnOnce(&[T]) -> R,
    ) -> Result<R, ComputeError> {
        let bytes = (count * size_of::<T>()) as u64;
        if bytes == 0 {
            return Ok(take(&[]));
        }
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.buffer(what, bytes, usage)?;
        let (sender, receiver) = std::sync::mpsc::channel();
        let submitted = self.scoped(what, || {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let from = (first * size_of::<T>()) as u64;
            encoder.copy_buffer_to_buffer(buffer, from, &staging, 0, bytes);
            let submitted = self.queue.submit([encoder.finish()]);
            staging.map_async(wgpu::MapMode::Read, .., move |result| {
                // The receiver is only gone when an error has been returned already.
                let _ = sender.send(result);
            });
            submitted
        })?;
        self.wait(what, submitted)?;
        let refused = |reason: String| self.refused(what, reason);
        receiver
            .try_recv()
            .map_err(|error| refused(error.to_string()))?
            .map_err(|error| refused(error.to_string()))?;
        let view = staging
            .get_mapped_range(..)
            .map_err(|error| refused(error.to_string()))?;
        let taken = take(bytemuck::cast_slice(&view[..bytes as usize]));
        drop(view);
        staging.unmap();
        // A device lost in between may have given back zeros.
        self.alive()?;
        Ok(taken)
    }

    fn buffer(
        &self,
        what: &'static str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, ComputeError> {
        self.scoped(what, || {
            self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(what),
                size: bytes.next_multiple_of(16).max(16),
                usage,
                mapped_at_creation: false,
            })
        })
    }

    /// Runs commands and returns the first error that they raised, if any.
    fn scoped<T>(&self, doing: &'static str, run: impl FnOnce() -> T) -> Result<T, ComputeError> {
        self.alive()?;
        let scopes = [
            wgpu::ErrorFilter::Internal,
            wgpu::ErrorFilter::OutOfMemory,
            wgpu::ErrorFilter::Validation,
        ]
        .map(|filter| self.device.push_error_scope(filter));
        let out = run();
        let mut found = None;
        // Scopes are a stack.
        for scope in scopes.into_iter().rev() {
            found = found.or(block_on(scope.pop()));
        }
        // Of a lost device, the loss is what matters, not what failed because of it; it is told when one asks.
        if found.is_some() {
            let _ = self.device.poll(wgpu::PollType::Poll);
        }
        self.alive()?;
        match found {
            None => Ok(out),
            Some(wgpu::Error::OutOfMemory { .. }) => Err(ComputeError::OutOfMemory {
                adapter: self.adapter.clone(),
                doing: doing.to_owned(),
            }),
            Some(error) => Err(self.refused(doing, error.to_string())),
        }
    }

    fn wait(
        &self,
        doing: &'static str,
        submission: wgpu::SubmissionIndex,
    ) -> Result<(), ComputeError> {
        let polled = self.device.poll(wgpu::PollType::Wait {
            submission_index: Some(submission),
            timeout: None,
        });
        self.alive()?;
        polled
            .map(|_| ())
            .map_err(|error| self.refused(doing, error.to_string()))
    }

    fn refused(&self, doing: &str, reason: String) -> ComputeError {
        ComputeError::Refused {
            adapter: self.adapter.clone(),
            doing: doing.to_owned(),
            reason,
        }
    }

    fn alive(&self) -> Result<(), ComputeError> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        match lost.as_ref() {
            None => Ok(()),
            Some(reason) => Err(ComputeError::Lost {
                adapter: self.adapter.clone(),
                reason: reason.clone(),
            }),
        }
    }

    #[cfg(test)]
    pub fn destroy(&self) {
        self.device.destroy();
    }
}

/// Kernels and copies recorded one after another. They run in this order, each after what the one before it wrote, once
/// they are submitted; nobody waits for them meanwhile. What is uploaded or written in the meantime is there before the first
/// of them runs.
pub(super) struct Commands<'a> {
    engine: &'a Engine,
    encoder: wgpu::CommandEncoder,
    /// Parameters of the kernels, [`PARAMS_BYTES`] apart, and where kernels read them.
    params: Vec<u8>,
    uniforms: wgpu::Buffer,
    /// Arithmetic recorded.
    flops: f64,
}

/// Where parameters of a kernel may begin; no adapter asks for more.
const PARAMS_BYTES: usize = 256;

/// Kernels that are submitted together at most.
const MOST_KERNELS: usize = 64;

/// What slow adapters do in some tens of milliseconds: more arithmetic is submitted apart, so that a display gets its turn.
pub(super) const SUBMISSION_FLOPS: f64 = 2e9;

impl<'a> Commands<'a> {
    pub fn new(engine: &'a Engine) -> Result<Self, ComputeError> {
        let what = "recording commands";
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let bytes = (MOST_KERNELS * PARAMS_BYTES) as u64;
        Ok(Self {
            engine,
            uniforms: engine.buffer(what, bytes, usage)?,
            encoder: engine.scoped(what, || {
                engine.device.create_command_encoder(&Default::default())
            })?,
            params: Vec::new(),
            flops: 0.0,
        })
    }

    pub fn engine(&self) -> &'a Engine {
        self.engine
    }

    /// Submits what is recorded when it is a submission's worth.
    fn make_room(&mut self) -> Result<(), ComputeError> {
        if self.flops > SUBMISSION_FLOPS || self.params.len() == MOST_KERNELS * PARAMS_BYTES {
            let next = Self::new(self.engine)?;
            std::mem::replace(self, next).submit()?;
        }
        Ok(())
    }

    /// Runs a kernel. `params` is binding 0; `buffers` are `(binding, buffer)`.
    pub fn dispatch<P: bytemuck::Pod>(
        &mut self,
        what: &'static str,
        pipeline: &wgpu::ComputePipeline,
        params: &P,
        buffers: &[(u32, &wgpu::Buffer)],
        groups: [u32; 2],
    ) -> Result<(), ComputeError> {
        let engine = self.engine;
        for count in groups {
            if count > engine.limits.groups {
                return Err(engine.too_large(what, count.into(), engine.limits.groups.into()));
            }
        }
        self.make_room()?;
        let at = self.params.len();
        let params = bytemuck::bytes_of(params);
        self.params.extend_from_slice(params);
        self.params.resize(at + PARAMS_BYTES, 0);
        let uniform = wgpu::BufferBinding {
            buffer: &self.uniforms,
            offset: at as u64,
            size: wgpu::BufferSize::new(params.len() as u64),
        };
        engine.scoped(what, || {
            let entries: Vec<_> = std::iter::once((0, wgpu::BindingResource::Buffer(uniform)))
                .chain(
                    buffers
                        .iter()
                        .map(|&(at, buffer)| (at, buffer.as_entire_binding())),
                )
                .map(|(binding, resource)| wgpu::BindGroupEntry { binding, resource })
                .collect();
            let bind_group = engine.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(what),
                layout: &pipeline.get_bind_group_layout(0),
                entries: &entries,
            });
            let mut pass = self.encoder.begin_compute_pass(&Default::default());
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &bind_group, &[]);
            pass.dispatch_workgroups(groups[0], groups[1], 1);
        })
    }

    /// Copies the first `bytes` of one buffer to a place in another.
    pub fn copy(
        &mut self,
        what: &'static str,
        from: &wgpu::Buffer,
        (to, at): (&wgpu::Buffer, u64),
        bytes: u64,
    ) -> Result<(), ComputeError> {
        self.engine.scoped(what, || {
            self.encoder.copy_buffer_to_buffer(from, 0, to, at, bytes);
        })
    }

    /// Says how much arithmetic was recorded last.
    pub fn counts(&mut self, flops: f64) {
        self.flops += flops;
    }

    /// Submits what is recorded; whoever needs its end waits for what is returned.
    pub fn submit(self) -> Result<wgpu::SubmissionIndex, ComputeError> {
        let engine = self.engine;
        engine.scoped("submitting commands", || {
            if !self.params.is_empty() {
                engine.queue.write_buffer(&self.uniforms, 0, &self.params);
            }
            engine.queue.submit([self.encoder.finish()])
        })
    }
}

/// Keeps the first reason.
fn record(slot: &Mutex<Option<String>>, reason: String) {
    slot.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert(reason);
}

/// How much work to put into one dispatch, learnt from the dispatches before. Splitting never changes a result.
#[derive(Debug)]
pub(super) struct Pace {
    flops: f64,
    target: Duration,
}

impl Pace {
    pub fn new(limits: GpuLimits) -> Self {
        // What slow adapters do in a few milliseconds.
        Self {
            flops: 2e7,
            target: limits.dispatch_time,
        }
    }

    /// Floating-point operations for the next dispatch.
    pub fn budget(&self) -> f64 {
        self.flops
    }

    /// Adapts to a dispatch that took `spent` for `flops`.
    pub fn learn(&mut self, flops: f64, spent: Duration) {
        let spent = spent.as_secs_f64().max(1e-6);
        // At most fourfold at once: short dispatches are mostly overhead.
        let fitting = flops * (self.target.as_secs_f64() / spent).clamp(0.25, 4.0);
        self.flops = if spent > self.target.as_secs_f64() {
            fitting
        } else {
            self.flops.max(fitting)
        }
        .max(1e6);
    }
}
