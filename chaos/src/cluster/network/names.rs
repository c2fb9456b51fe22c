//! Names of namespaces and devices: unique to a run, and telling whose they are.
//!
//! **Invariant:** a name has at most 15 bytes, which is what Linux allows for a device.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cluster::NodeId;

/// Begins every name: *jackdaw chaos*.
const PREFIX: &str = "jdc";
/// Networks that this process has made.
static MADE: AtomicU32 = AtomicU32::new(0);

/// The names of one network.
#[derive(Debug)]
pub(super) struct Names {
    base: String,
}

impl Names {
    /// Names that no other network has.
    pub(super) fn new() -> Self {
        Self::of(process::id(), MADE.fetch_add(1, Ordering::Relaxed))
    }

    fn of(pid: u32, network: u32) -> Self {
        Self { base: format!("{PREFIX}{pid}.{network}") }
    }

    pub(super) fn bridge(&self) -> String {
        self.base.clone()
    }

    /// Of a node's namespace, and of its cable's end on the bridge.
    pub(super) fn host(&self, id: NodeId) -> String {
        format!("{}n{id}", self.base)
    }
}

/// The process that made a network with this name in it; none for any other name.
pub(super) fn run_of(name: &str) -> Option<u32> {
    let (pid, rest) = name.strip_prefix(PREFIX)?.split_once('.')?;
    let (network, host) = rest.split_once('n').unwrap_or((rest, "1"));
    let _: (u32, NodeId) = (network.parse().ok()?, host.parse().ok()?);
    pid.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_their_process() {
        let names = Names::of(4_194_304, 9);
        assert_eq!(
            (names.bridge(), names.host(5)),
            ("jdc4194304.9".into(), "jdc4194304.9n5".into())
        );
        assert!(names.host(5).len() <= 15);
        assert_eq!(run_of(&names.bridge()), Some(4_194_304));
        assert_eq!(run_of(&names.host(5)), Some(4_194_304));
        for other in ["jdc", "jdc7", "jdc7.", "jdc7.1nx", "eth0", "jdcx.1", "xjdc7.1"] {
            assert_eq!(run_of(other), None, "{other}");
        }
    }

    #[test]
    fn two_networks_of_a_process_differ() {
        assert_ne!(Names::new().bridge(), Names::new().bridge());
    }
}
