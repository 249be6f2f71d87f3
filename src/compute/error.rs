//! What can go wrong on a device, with its name and what to do about it.

/// An error of the compute layer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ComputeError {
    /// A GPU was asked for and there is none.
    #[error("no GPU here; adapters: {}. Use --device auto or cpu, or name a software adapter", list(.adapters))]
    NoGpu { adapters: Vec<String> },
    /// No adapter's name contains the text given.
    #[error("no adapter is called \"{wanted}\"; adapters: {}", list(.adapters))]
    UnknownDevice {
        wanted: String,
        adapters: Vec<String>,
    },
    /// The adapter was found but refused to open.
    #[error("{adapter}: cannot open the device: {reason}")]
    Open { adapter: String, reason: String },
    /// The device is gone (driver reset, unplugged, destroyed); nothing it computed is used.
    #[error("{adapter}: the device was lost: {reason}. Run again, or use --device cpu")]
    Lost { adapter: String, reason: String },
    /// A buffer did not fit.
    #[error("{adapter}: out of memory while {doing}. Close other programs, or use --device cpu")]
    OutOfMemory { adapter: String, doing: String },
    /// The driver or the graphics layer refused a command: a defect, here or in the driver.
    #[error("{adapter}: error while {doing}: {reason}. Use --device cpu and report this")]
    Refused {
        adapter: String,
        doing: String,
        reason: String,
    },
    /// The work cannot be split far enough for this adapter.
    #[error(
        "{adapter}: {what} needs {needed}, the adapter allows {allowed} at once. Use --device cpu"
    )]
    TooLarge {
        adapter: String,
        what: String,
        needed: u64,
        allowed: u64,
    },
    /// Arrays that do not fit each other.
    #[error("{0}")]
    Shape(String),
}

impl ComputeError {
    pub(crate) fn shape(message: impl Into<String>) -> Self {
        Self::Shape(message.into())
    }
}

fn list(adapters: &[String]) -> String {
    if adapters.is_empty() {
        "none".to_owned()
    } else {
        adapters.join(", ")
    }
}
