//! What a cluster under test looks like.

use std::fmt::Write as _;
use std::path::PathBuf;

use super::ports::Reservation;
use super::{NodeId, Ports};

/// Where a cluster keeps its files.
#[derive(Clone, Debug)]
pub enum Folder {
    /// A new folder under the given one, removed when the cluster is dropped unless
    /// [`Cluster::keep`](super::Cluster::keep) was called or the thread panics.
    TemporaryIn(PathBuf),
    /// This folder, made if it is not there and never removed.
    Kept(PathBuf),
}

/// What to start.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Nodes, 1 to 5; all of them vote in the metadata group.
    pub nodes: usize,
    /// The `jackdaw` binary.
    pub binary: PathBuf,
    /// Where files go.
    pub folder: Folder,
    /// Where ports come from.
    pub ports: Ports,
    /// Keys that differ from the defaults, as in `("groups.session_timeout_min_ms", "1000")`; the
    /// value is TOML.
    pub settings: Vec<(String, String)>,
    /// Gives each node's data an ext4 volume of so many MiB, whose power can be cut. Needs root.
    pub volume_mib: Option<u64>,
    /// Puts each node on a host of its own, whose cable can be cut; `ports` is then of no use. Needs root.
    pub hosts: bool,
}

impl ClusterOptions {
    /// `nodes` nodes of `binary` on free ports, in a temporary folder of the system.
    #[must_use]
    pub fn new(nodes: usize, binary: PathBuf) -> Self {
        Self {
            nodes,
            binary,
            folder: Folder::TemporaryIn(std::env::temp_dir()),
            ports: Ports::Free,
            settings: Vec::new(),
            volume_mib: None,
            hosts: false,
        }
    }

    /// Adds a key that differs from the default.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The configuration file of node `id`. Its data folder is relative to the node's own folder.
    pub(super) fn node_toml(&self, id: NodeId, reservation: &Reservation) -> String {
        let mut text = String::new();
        // Dotted keys: a table header would swallow the settings that follow it.
        let ports = reservation.of(id);
        let mut line = |key: &str, value: &str| {
            writeln!(text, "{key} = {value}").expect("a String takes every write");
        };
        line("node_id", &id.to_string());
        line("cluster", r#""chaos""#);
        line("data_dir", r#""data""#);
        let peers: Vec<String> = (1..=self.nodes as NodeId)
            .map(|peer| format!(r#"{{ id = {peer}, peer = "{}" }}"#, reservation.of(peer).peer))
            .collect();
        line("nodes", &format!("[{}]", peers.join(", ")));
        line("listeners.kafka", &format!(r#""{}""#, ports.kafka));
        line("listeners.peer", &format!(r#""{}""#, ports.peer));
        line("listeners.admin", &format!(r#""{}""#, ports.admin));
        if self.hosts {
            // Their addresses are no loopback addresses, and nobody but this machine reaches them.
            line("insecure", "true");
        }
        for (key, value) in &self.settings {
            line(key, value);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_told_its_ports_its_peers_and_the_settings() {
        let options = ClusterOptions { ports: Ports::Fixed, ..ClusterOptions::new(3, "j".into()) }
            .set("groups.initial_rebalance_delay_ms", "0");
        let reservation = Reservation::take(options.ports, options.nodes).unwrap();
        let expected = r#"node_id = 2
cluster = "chaos"
data_dir = "data"
nodes = [{ id = 1, peer = "127.0.0.1:7092" }, { id = 2, peer = "127.0.0.1:7093" }, { id = 3, peer = "127.0.0.1:7094" }]
listeners.kafka = "127.0.0.1:9093"
listeners.peer = "127.0.0.1:7093"
listeners.admin = "127.0.0.1:8093"
groups.initial_rebalance_delay_ms = 0
"#;
        assert_eq!(options.node_toml(2, &reservation), expected);
    }

    #[test]
    fn a_node_on_a_host_of_its_own_may_bind_its_address() {
        let options = ClusterOptions { ports: Ports::Fixed, ..ClusterOptions::new(3, "j".into()) };
        let reservation = Reservation::take(options.ports, options.nodes).unwrap();
        let binds = |options: &ClusterOptions| {
            options.node_toml(1, &reservation).lines().any(|line| line == "insecure = true")
        };
        assert!(!binds(&options));
        assert!(binds(&ClusterOptions { hosts: true, ..options }));
    }
}
