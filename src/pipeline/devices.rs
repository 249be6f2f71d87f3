//! Where a night computes, and where it goes on if that fails.

use crate::compute::Device;
use crate::config::OnDeviceFailure;
use crate::error::Result;
use crate::watch::Observer;
use crate::watch::event::Warned;

/// The device of now, and the CPU.
pub(super) struct Devices<'d> {
    now: &'d dyn Device,
    cpu: &'d dyn Device,
    failure: OnDeviceFailure,
    fell_back: bool,
}

impl<'d> Devices<'d> {
    pub fn new(now: &'d dyn Device, cpu: &'d dyn Device, failure: OnDeviceFailure) -> Self {
        Self {
            now,
            cpu,
            failure,
            fell_back: false,
        }
    }

    /// Goes on with the CPU.
    pub fn fall_back(&mut self) {
        (self.now, self.fell_back) = (self.cpu, true);
    }

    /// Whether the CPU goes on for a device that failed.
    pub fn fell_back(&self) -> bool {
        self.fell_back
    }

    /// The device of now.
    pub fn now(&self) -> &'d dyn Device {
        self.now
    }

    /// Runs a stage on the device of now. Where that fails and the pipeline file says so, the stage begins again on the CPU,
    /// which is the device from then on; it replaces what it had written.
    ///
    /// # Errors
    /// Those of the stage.
    pub async fn compute<T>(
        &mut self,
        observer: &mut Observer<'_>,
        stage: impl AsyncFn(&'d dyn Device) -> Result<T>,
    ) -> Result<T> {
        match stage(self.now).await {
            Err(error) if error.is_device_failure() && self.failure == OnDeviceFailure::Cpu => {
                observer(&Warned(&format!("{error}; going on with the CPU")));
                self.fall_back();
                stage(self.now).await
            }
            result => result,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::compute::{
        Als, AlsSolve, ComputeError, CpuDevice, DeviceInfo, Interactions, Matrix, MatrixView,
        Recipe, Scorer, Trainer,
    };
    use crate::error::Error;
    use crate::features::csr::Csr;
    use crate::watch::Event;
    use futures::executor::block_on;

    /// A GPU that is gone.
    struct Gone(DeviceInfo);

    impl Gone {
        fn error<T>(&self) -> Result<T, ComputeError> {
            Err(ComputeError::Lost {
                adapter: self.0.name.clone(),
                reason: "unplugged".into(),
            })
        }
    }

    impl Device for Gone {
        fn info(&self) -> &DeviceInfo {
            &self.0
        }
        fn gram(&self, _: MatrixView<'_>, _: f32) -> Result<Matrix, ComputeError> {
            self.error()
        }
        fn als_half(
            &self,
            _: MatrixView<'_>,
            _: &Csr,
            _: AlsSolve,
            _: &mut Matrix,
        ) -> Result<(), ComputeError> {
            self.error()
        }
        fn als<'a>(
            &'a self,
            _: Interactions<'a>,
            _: Matrix,
            _: Matrix,
            _: AlsSolve,
        ) -> Result<Box<dyn Als + 'a>, ComputeError> {
            self.error()
        }
        fn trainer<'a>(
            &'a self,
            _: &Matrix,
            _: &Matrix,
            _: Recipe,
        ) -> Result<Box<dyn Trainer + 'a>, ComputeError> {
            self.error()
        }
        fn scorer<'a>(
            &'a self,
            _: MatrixView<'a>,
            _: Option<&[bool]>,
        ) -> Result<Box<dyn Scorer + 'a>, ComputeError> {
            self.error()
        }
    }

    #[test]
    fn a_lost_device_ends_the_night_or_the_cpu_goes_on() {
        let cpu = CpuDevice::new();
        let gone = Gone(DeviceInfo {
            name: "Old card".into(),
            ..cpu.info().clone()
        });
        let attempt = |failure: OnDeviceFailure, fails_with: Option<&str>| {
            let mut devices = Devices::new(&gone, &cpu, failure);
            let mut warnings = vec![];
            let mut observer = |event: &dyn Event| {
                assert_eq!(event.name(), "warning");
                warnings.extend(event.text());
            };
            let stage = |device: &dyn Device| {
                let name = device.info().name.clone();
                let done = device.gram(Matrix::zeros(1, 1).view(), 1.0);
                async move {
                    match fails_with {
                        Some(other) => Err(Error::check(other)),
                        None => Ok(done.map(|_| name)?),
                    }
                }
            };
            let result = block_on(devices.compute(&mut observer, stage));
            (result.map_err(|e| e.to_string()), warnings)
        };
        let (result, warnings) = attempt(OnDeviceFailure::Cpu, None);
        assert_eq!(result.unwrap(), "cpu");
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].contains("Old card") && warnings[0].contains("CPU"),
            "{warnings:?}"
        );
        let (result, warnings) = attempt(OnDeviceFailure::Stop, None);
        assert!(
            result
                .unwrap_err()
                .contains("Old card: the device was lost")
        );
        assert!(warnings.is_empty());
        // What the CPU would not do better is not tried again.
        let (result, warnings) = attempt(OnDeviceFailure::Cpu, Some("no interactions"));
        assert_eq!(result.unwrap_err(), "no interactions");
        assert!(warnings.is_empty());
    }
}
