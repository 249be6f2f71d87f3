//! Which device computes: what is here, and what a choice means.

use super::gpu::describe;
use super::{ComputeError, CpuDevice, Device, DeviceInfo, GpuDevice, Kind};
use futures::executor::block_on;
use std::convert::Infallible;
use std::str::FromStr;

/// The device that a user asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// A real GPU where there is one, the CPU otherwise.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// A real GPU, or [`ComputeError::NoGpu`].
    Gpu,
    /// The first adapter whose name contains the text, upper and lower case alike; software adapters too.
    Named(String),
}

impl FromStr for Choice {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.trim().to_lowercase().as_str() {
            "auto" | "" => Self::Auto,
            "cpu" => Self::Cpu,
            "gpu" => Self::Gpu,
            _ => Self::Named(text.trim().to_owned()),
        })
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
            Self::Named(name) => name,
        })
    }
}

/// All devices, the one that `auto` takes first. Without any graphics driver it is the CPU alone.
pub fn list() -> Vec<DeviceInfo> {
    let mut devices: Vec<_> = adapters().iter().map(describe).collect();
    let gpus = devices.iter().take_while(|info| info.kind.is_gpu()).count();
    devices.insert(gpus, CpuDevice::new().info().clone());
    devices
}

/// Opens the device of a choice.
pub fn open(choice: &Choice) -> Result<Box<dyn Device>, ComputeError> {
    if *choice == Choice::Cpu {
        return Ok(Box::new(CpuDevice::new()));
    }
    let adapters = adapters();
    let infos: Vec<_> = adapters.iter().map(describe).collect();
    match pick(choice, &infos)? {
        None => Ok(Box::new(CpuDevice::new())),
        Some(at) => Ok(Box::new(GpuDevice::open(&adapters[at], |limits| limits)?)),
    }
}

/// The adapter of a choice, `None` for the CPU.
fn pick(choice: &Choice, adapters: &[DeviceInfo]) -> Result<Option<usize>, ComputeError> {
    let names = || {
        adapters
            .iter()
            .map(|info| format!("{} ({}, {})", info.name, info.kind, info.backend))
            .collect()
    };
    let gpu = adapters.iter().position(|info| info.kind.is_gpu());
    match choice {
        Choice::Cpu => Ok(None),
        Choice::Auto => Ok(gpu),
        Choice::Gpu => gpu
            .map(Some)
            .ok_or_else(|| ComputeError::NoGpu { adapters: names() }),
        Choice::Named(wanted) => {
            let needle = wanted.to_lowercase();
            adapters
                .iter()
                .position(|info| info.name.to_lowercase().contains(&needle))
                .map(Some)
                .ok_or_else(|| ComputeError::UnknownDevice {
                    wanted: wanted.clone(),
                    adapters: names(),
                })
        }
    }
}

/// Adapters, the most able first; the order does not depend on the driver's. An adapter that two interfaces offer
/// appears once for each.
pub(super) fn adapters() -> Vec<wgpu::Adapter> {
    let backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut adapters = block_on(instance.enumerate_adapters(backends));
    // Kernels need compute shaders and room for a sorted list.
    adapters.retain(|adapter| {
        let limits = adapter.limits();
        limits.max_compute_invocations_per_workgroup >= 256
            && limits.max_compute_workgroup_storage_size >= 16_384
            && limits.max_storage_buffers_per_shader_stage >= 6
    });
    adapters.sort_by_key(|adapter| {
        let info = describe(adapter);
        let rank = match info.kind {
            Kind::Discrete => 0,
            Kind::Virtual => 1,
            Kind::Integrated => 2,
            Kind::Other => 3,
            Kind::Software => 4,
            Kind::Cpu => 5,
        };
        (
            rank,
            std::cmp::Reverse(info.max_buffer_bytes),
            info.name,
            info.backend,
        )
    });
    adapters
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn adapter(name: &str, kind: Kind) -> DeviceInfo {
        DeviceInfo {
            name: name.to_owned(),
            kind,
            backend: "vulkan".to_owned(),
            max_buffer_bytes: Some(1 << 30),
            max_binding_bytes: Some(1 << 27),
        }
    }

    #[test]
    fn choices_are_read_from_text() {
        let parse = |text: &str| text.parse::<Choice>().unwrap();
        assert_eq!(parse("auto"), Choice::Auto);
        assert_eq!(parse("CPU"), Choice::Cpu);
        assert_eq!(parse("gpu"), Choice::Gpu);
        assert_eq!(parse("H100"), Choice::Named("H100".to_owned()));
    }

    #[test]
    fn auto_takes_a_real_gpu_and_never_a_software_one() {
        let both = [
            adapter("NVIDIA H100", Kind::Discrete),
            adapter("llvmpipe (LLVM 15)", Kind::Software),
        ];
        assert_eq!(pick(&Choice::Auto, &both).unwrap(), Some(0));
        assert_eq!(pick(&Choice::Gpu, &both).unwrap(), Some(0));
        assert_eq!(pick(&Choice::Auto, &both[1..]).unwrap(), None);
        assert_eq!(pick(&Choice::Auto, &[]).unwrap(), None);
        assert_eq!(pick(&Choice::Cpu, &both).unwrap(), None);
    }

    #[test]
    fn a_gpu_that_is_not_there_is_an_error_that_lists_what_is() {
        let software = [adapter("llvmpipe (LLVM 15)", Kind::Software)];
        let error = pick(&Choice::Gpu, &software).unwrap_err();
        assert!(matches!(error, ComputeError::NoGpu { .. }));
        assert!(
            error
                .to_string()
                .contains("llvmpipe (LLVM 15) (software, vulkan)"),
            "{error}"
        );
        let error = pick(&Choice::Gpu, &[]).unwrap_err();
        assert!(error.to_string().contains("adapters: none"), "{error}");
    }

    #[test]
    fn a_name_matches_any_part_in_any_case() {
        let adapters = [
            adapter("NVIDIA H100", Kind::Discrete),
            adapter("llvmpipe (LLVM 15)", Kind::Software),
        ];
        let named = |name: &str| pick(&Choice::Named(name.to_owned()), &adapters);
        assert_eq!(named("LLVMpipe").unwrap(), Some(1));
        assert_eq!(named("h100").unwrap(), Some(0));
        let error = named("radeon").unwrap_err();
        assert!(matches!(error, ComputeError::UnknownDevice { .. }));
        assert!(error.to_string().contains("NVIDIA H100"), "{error}");
    }

    #[test]
    fn the_cpu_is_always_listed_once() {
        let cpus = list().iter().filter(|d| d.kind == Kind::Cpu).count();
        assert_eq!(cpus, 1);
        assert_eq!(open(&Choice::Cpu).unwrap().info().kind, Kind::Cpu);
    }
}
