//! What a fault needs of the machine, and whether it is there: found out by trying.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cluster::{try_hosts, try_tracing, try_volumes};

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Hosts of their own for the nodes.
    Hosts,
    /// Volumes of their own for the nodes' data.
    Volumes,
    /// strace(1) and the right to trace.
    Tracing,
    /// A clock that can be set for one process.
    Clock,
}

impl Need {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Hosts, Self::Volumes, Self::Tracing, Self::Clock];

    /// Tries it.
    ///
    /// # Errors
    /// It is not there: with what is missing.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Hosts => try_hosts(),
            Self::Volumes => try_volumes(),
            Self::Tracing => try_tracing(),
            Self::Clock => Self::faketime().map(drop),
        }
    }

    /// The library that sets a process's clock.
    ///
    /// # Errors
    /// It is not there.
    pub fn faketime() -> Result<PathBuf> {
        let folders = fs::read_dir("/usr/lib")?.filter_map(Result::ok);
        let mut named = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        let found = named.find(|path| path.is_file());
        found.context("clocks of their own need libfaketime, which is in the package faketime")
    }
}
