//! A network of hosts, one for each node: namespaces of the kernel, joined by a bridge.
//!
//! ```text
//! this process and its clients ── .254 ┐
//! node 1 in its namespace, eth0 ── .1 ─┤ bridge
//! node 2 in its namespace, eth0 ── .2 ─┘
//! ```
//!
//! A cable is a pair of devices of which one lies in the namespace and the other hangs on the bridge.
//!
//! **Invariant:** everything is removed when a [`Network`] is dropped. What a run left behind that was
//! killed is removed by the next one.

mod hindrance;
mod names;
mod subnet;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::NodeId;
use super::tool::tool;
pub use hindrance::Hindrance;
use names::Names;
use subnet::Subnet;

/// What is needed besides root, and the package that has it.
const TOOLS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("ss", "iproute2"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
];

/// One direction of the way between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wire {
    /// Who sends.
    pub from: NodeId,
    /// Who receives.
    pub to: NodeId,
}

/// The hosts of a cluster.
#[derive(Debug)]
pub struct Network {
    names: Names,
    subnet: Subnet,
    hosts: NodeId,
}

impl Network {
    /// Makes hosts 1 to `hosts`.
    ///
    /// # Errors
    /// Without root, `ip` or `nft`; the kernel refuses.
    pub(super) fn make(hosts: NodeId) -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "hosts of their own need root, for network namespaces: run the command with sudo"
        );
        TOOLS.iter().try_for_each(|(program, package)| need(program, package))?;
        remove_leftovers();
        let network = Self { names: Names::new(), subnet: Subnet::take()?, hosts };
        let bridge = network.names.bridge();
        ip(&["link", "add", &bridge, "type", "bridge"])?;
        let address = network.subnet.with_prefix(network.subnet.own());
        ip(&["addr", "add", &address, "dev", &bridge])?;
        ip(&["link", "set", &bridge, "up"])?;
        for id in 1..=hosts {
            network.add_host(id)?;
        }
        Ok(network)
    }

    fn add_host(&self, id: NodeId) -> Result<()> {
        let (host, address) = (self.names.host(id), self.subnet.with_prefix(self.address(id)));
        ip(&["netns", "add", &host])?;
        // The bridge's end of the cable has the namespace's name.
        ip(&["link", "add", &host, "type", "veth", "peer", "name", "eth0", "netns", &host])?;
        ip(&["link", "set", &host, "master", &self.names.bridge(), "up"])?;
        ip(&["-n", &host, "addr", "add", &address, "dev", "eth0"])?;
        ip(&["-n", &host, "link", "set", "eth0", "up"])?;
        ip(&["-n", &host, "link", "set", "lo", "up"])
    }

    /// The address of a node's host.
    #[must_use]
    pub fn address(&self, id: NodeId) -> Ipv4Addr {
        self.subnet.host(id)
    }

    /// The command, without its arguments, that runs `program` on a node's host; it becomes the program,
    /// so that its process id is the program's.
    ///
    /// It is not `ip netns exec`, which gives the process mounts of its own: a volume that one node gives back
    /// would stay mounted in all others.
    pub(super) fn run_on(&self, id: NodeId, program: &Path) -> Vec<OsString> {
        let namespace = format!("--net=/run/netns/{}", self.names.host(id));
        vec!["nsenter".into(), namespace.into(), program.into()]
    }

    /// Pulls a node's cable: nobody reaches it, and it reaches nobody.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn unplug(&self, id: NodeId) -> Result<()> {
        ip(&["link", "set", &self.names.host(id), "down"])
    }

    /// Puts a node's cable back.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn plug(&self, id: NodeId) -> Result<()> {
        ip(&["link", "set", &self.names.host(id), "up"])
    }

    /// Cuts these wires and heals all others. This process still reaches every node.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn cut(&self, wires: &BTreeSet<Wire>) -> Result<()> {
        for id in 1..=self.hosts {
            let cut = wires.iter().filter(|wire| wire.to == id);
            let sources: Vec<Ipv4Addr> = cut.map(|wire| self.address(wire.from)).collect();
            let host = self.names.host(id);
            let nft = ["netns", "exec", &host, "nft", &rules(&sources)];
            ip(&nft).with_context(|| format!("cutting wires to node {id}"))?;
        }
        Ok(())
    }

    /// Hinders whatever goes in and out at a node's host; a hindrance takes the place of the one before.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn hinder(&self, id: NodeId, hindrance: Hindrance) -> Result<()> {
        self.unhinder(id)?;
        hindrance.put(&self.names.host(id)).with_context(|| format!("{hindrance:?} at node {id}"))
    }

    /// Resets every connection of a node's host, to nodes and to clients.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn reset_connections(&self, id: NodeId) -> Result<()> {
        let kill = ["ss", "-K", "-t", "state", "established"];
        ip(&[&["netns", "exec", &self.names.host(id)], &kill[..]].concat())
    }

    /// Ends [`hinder`](Self::hinder).
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn unhinder(&self, id: NodeId) -> Result<()> {
        Hindrance::take_away(&self.names.host(id))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // What does not exist, since the making failed, is not missed.
        for id in 1..=self.hosts {
            let _ = ip(&["netns", "del", &self.names.host(id)]);
            let _ = ip(&["link", "del", &self.names.host(id)]);
        }
        let _ = ip(&["link", "del", &self.names.bridge()]);
    }
}

fn need(program: &str, package: &str) -> Result<()> {
    let found = Command::new(program).arg("-V").output();
    found.with_context(|| {
        format!("hosts of their own need `{program}`, which is in the package {package}")
    })?;
    Ok(())
}

/// What a host is told to drop: packets of these sources, and no others.
fn rules(sources: &[Ipv4Addr]) -> String {
    let mut text = "table inet cut; delete table inet cut;".to_owned();
    if !sources.is_empty() {
        let sources: Vec<String> = sources.iter().map(Ipv4Addr::to_string).collect();
        text += &format!(
            " table inet cut {{ chain input {{ type filter hook input priority 0; ip saddr {{ {} }} drop; }}; }}",
            sources.join(", ")
        );
    }
    text
}

/// Removes namespaces and devices of runs whose process is gone.
fn remove_leftovers() {
    let named = |folder: &str| -> io::Result<Vec<String>> {
        let entries = fs::read_dir(folder)?.filter_map(Result::ok);
        Ok(entries.filter_map(|entry| entry.file_name().into_string().ok()).collect())
    };
    let left_behind = |name: &String| {
        names::run_of(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    };
    // A namespace takes its cable along. Errors: another run was quicker, or there is nothing.
    for name in named("/run/netns").unwrap_or_default().iter().filter(|name| left_behind(name)) {
        let _ = ip(&["netns", "del", name]);
    }
    for name in named("/sys/class/net").unwrap_or_default().iter().filter(|name| left_behind(name))
    {
        let _ = ip(&["link", "del", name]);
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    tool(Command::new("ip").args(arguments)).with_context(|| format!("ip {}", arguments.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_replace_what_was_cut_before() {
        let gone = "table inet cut; delete table inet cut;";
        assert_eq!(rules(&[]), gone);
        let sources = [Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 3)];
        let cut = rules(&sources);
        assert!(cut.starts_with(gone), "{cut}");
        assert!(cut.contains("ip saddr { 198.18.0.1, 198.18.0.3 } drop"), "{cut}");
    }

    #[test]
    fn a_tool_that_is_missing_is_named_with_its_package() {
        assert!(need("sh", "dash").is_ok());
        let error = need("no-such-tool", "no-such-package").unwrap_err().to_string();
        assert!(error.contains("need `no-such-tool`, which is in the package no-such-package"));
    }
}
