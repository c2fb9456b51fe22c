//! What a fault needs of the machine, and whether it is there.

use std::env;
use std::fs;
use std::path::PathBuf;

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

    /// What is missing, in words; none if nothing is.
    #[must_use]
    pub fn missing(self) -> Option<String> {
        let root = rustix::process::geteuid().is_root();
        let reason = match self {
            Self::Hosts | Self::Volumes if !root => "root".to_owned(),
            Self::Hosts => {
                ["ip", "nft", "tc", "ss", "nsenter"].iter().find_map(|tool| absent(tool))?
            }
            Self::Volumes => ["mkfs.ext4", "mount"].iter().find_map(|tool| absent(tool))?,
            Self::Tracing => absent("strace")?,
            Self::Clock => match Self::faketime() {
                Some(_) => return None,
                None => "libfaketime (package faketime)".to_owned(),
            },
        };
        Some(reason)
    }

    /// The library that sets a process's clock.
    #[must_use]
    pub fn faketime() -> Option<PathBuf> {
        let folders = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
        let named = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
        named.into_iter().find(|path| path.is_file())
    }
}

/// The tool's name and package, if it is not there.
fn absent(tool: &str) -> Option<String> {
    let package = match tool {
        "nft" => "nftables",
        "mkfs.ext4" => "e2fsprogs",
        "mount" => "mount",
        "nsenter" => "util-linux",
        "strace" => "strace",
        _ => "iproute2",
    };
    let path = env::var_os("PATH").unwrap_or_default();
    let there = env::split_paths(&path).any(|folder| folder.join(tool).is_file());
    (!there).then(|| format!("{tool} (package {package})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_its_package() {
        assert_eq!(absent("sh"), None);
        assert_eq!(absent("no-such-tool").unwrap(), "no-such-tool (package iproute2)");
    }
}
