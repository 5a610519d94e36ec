//! A file system of our own on a block device, in place of a directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coney_spdk_env_shim::Figures;
use rocksdb::Env;

/// A mounted file system; the database is in its directory [`Device::DATABASE`].
#[derive(Clone)]
pub struct Device {
    path: PathBuf,
    env: Env,
    figures: Arc<dyn Figures>,
}

impl Device {
    /// Where the database is in the file system.
    pub const DATABASE: &str = "/db";

    /// The device at `path`, as RocksDB sees it and as it tells of itself.
    pub fn new(path: impl Into<PathBuf>, env: Env, figures: Arc<dyn Figures>) -> Self {
        Self { path: path.into(), env, figures }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    /// Names and values for INFO.
    pub(crate) fn figures(&self) -> Vec<(&'static str, u64)> {
        self.figures.figures()
    }

    /// Why nothing is written any more, if so.
    pub(crate) fn broken(&self) -> Option<String> {
        self.figures.broken()
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device").field("path", &self.path).finish_non_exhaustive()
    }
}
