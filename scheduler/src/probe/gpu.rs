//! Graphics processors by NVML. No driver is no error; a driver that does not answer is told with its reason.

use std::ffi::OsStr;

use nvml_wrapper::Nvml;
use nvml_wrapper::error::NvmlError;

use crate::capacity::{GpuDevice, Gpus};

/// Samples between two tries to open a driver that did not answer; opening takes some 10 ms.
const SAMPLES_PER_RETRY: u32 = 30;
/// Most devices listed.
const DEVICES_MAX: u32 = 64;

/// The driver's library, opened or not.
#[derive(Debug)]
pub(super) struct Driver {
    state: State,
}

#[derive(Debug)]
enum State {
    Open(Box<Nvml>),
    Absent,
    Failed { reason: String, retry_in: u32 },
}

impl Driver {
    /// Opens the driver's library at `path`, or the system's.
    pub fn open(path: Option<&OsStr>) -> Self {
        let opened = match path {
            Some(path) => Nvml::builder().lib_path(path).init(),
            None => Nvml::init(),
        };
        let state = match opened {
            Ok(nvml) => State::Open(Box::new(nvml)),
            Err(NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound) => State::Absent,
            Err(error) => State::Failed { reason: error.to_string(), retry_in: SAMPLES_PER_RETRY },
        };
        Self { state }
    }

    /// What the driver lists now; a field that it will not tell is absent.
    pub fn sample(&mut self) -> Gpus {
        match &mut self.state {
            State::Absent => Gpus::None,
            State::Failed { reason, retry_in } => {
                let answer = Gpus::Unavailable { reason: reason.clone() };
                *retry_in = retry_in.saturating_sub(1);
                if *retry_in == 0 {
                    *self = Self::open(None);
                }
                answer
            }
            State::Open(nvml) => match nvml.device_count() {
                Ok(count) => {
                    Gpus::Devices { devices: (0..count.min(DEVICES_MAX)).map(|at| device(nvml, at)).collect() }
                }
                Err(error) => {
                    let reason = error.to_string();
                    self.state = State::Failed { reason: reason.clone(), retry_in: SAMPLES_PER_RETRY };
                    Gpus::Unavailable { reason }
                }
            },
        }
    }
}

fn device(nvml: &Nvml, at: u32) -> GpuDevice {
    let Ok(device) = nvml.device_by_index(at) else {
        return GpuDevice { name: None, memory_bytes: None, memory_free_bytes: None };
    };
    let memory = device.memory_info().ok();
    GpuDevice {
        name: device.name().ok(),
        memory_bytes: memory.as_ref().map(|memory| memory.total),
        memory_free_bytes: memory.as_ref().map(|memory| memory.free),
    }
}
