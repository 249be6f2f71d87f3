//! What can go wrong while exports are generated.

use std::path::{Path, PathBuf};

/// Why no exports were written, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The specification asks for something that cannot be.
    #[error("`{field}` is {value}, but must be {wanted}")]
    Spec {
        /// The field of the specification.
        field: &'static str,
        /// Its value, as text.
        value: String,
        /// What is accepted.
        wanted: &'static str,
    },
    /// The output folder holds something that an earlier call did not write.
    #[error("{} is not empty and was not made by `recost generate`; name a new folder or empty this one", .0.display())]
    NotOurs(PathBuf),
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A Parquet file could not be written.
    #[error("cannot write {}: {source}; check the free space and the permissions of the folder", path.display())]
    Parquet {
        /// Which file.
        path: PathBuf,
        /// The writer's reason.
        source: parquet::errors::ParquetError,
    },
    /// Columns did not fit together: a defect of the generator.
    #[error("internal error while building rows: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The worker threads could not be started.
    #[error("cannot start worker threads: {0}")]
    Threads(String),
}

impl GenerateError {
    /// An [`GenerateError::Io`] from a failed `action` on `path`.
    pub(super) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    /// An [`GenerateError::Parquet`] for `path`.
    pub(super) fn parquet(path: &Path, source: parquet::errors::ParquetError) -> Self {
        Self::Parquet {
            path: path.to_path_buf(),
            source,
        }
    }
}
