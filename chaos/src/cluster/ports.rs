//! Ports for nodes that start, die and start again.
//!
//! A port that the system hands out (`bind` to 0) lies in the range of outgoing connections: while
//! a killed node is down, any connection may take its port, and a client that dials it may even
//! connect to itself. So ports are taken from below that range, in blocks.
//!
//! **Invariant:** two runs that reserve at the same time get different blocks: the block's first
//! port stays bound, by the runner itself, as long as the cluster lives.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Result, bail};
use rand::Rng as _;

use super::{Network, NodeId};

/// Ports of a block: the lock, then three for each of up to five nodes.
const BLOCK: u16 = 16;
/// Linux hands out 32768 to 60999 by default.
const FIRST: u16 = 10_240;
const END: u16 = 32_768;
const ATTEMPTS: usize = 200;

/// Where the ports come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Free ports, different for every cluster.
    Free,
    /// The documented ones: 9092, 7092 and 8092 for node 1, each one higher for the next node.
    Fixed,
}

/// A node's three sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePorts {
    /// Kafka clients.
    pub kafka: SocketAddr,
    /// The other nodes.
    pub peer: SocketAddr,
    /// HTTP.
    pub admin: SocketAddr,
}

/// The ports of a cluster, reserved as long as this lives.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) nodes: Vec<NodePorts>,
    _lock: Option<TcpListener>,
}

impl Reservation {
    /// Reserves ports for `nodes` nodes.
    pub(super) fn take(ports: Ports, nodes: usize) -> Result<Self> {
        assert!((1..=5).contains(&nodes), "a block has ports for one to five nodes");
        match ports {
            Ports::Fixed => {
                let ports = |node| fixed(Ipv4Addr::LOCALHOST.into(), node as u16);
                Ok(Self { nodes: (0..nodes).map(ports).collect(), _lock: None })
            }
            Ports::Free => Self::take_free(nodes),
        }
    }

    /// The documented ports of node 1 on each node's own host, where nobody else can have them.
    pub(super) fn on_hosts(network: &Network, nodes: usize) -> Self {
        let ports = |id| fixed(network.address(id).into(), 0);
        Self { nodes: (1..=nodes as NodeId).map(ports).collect(), _lock: None }
    }

    fn take_free(nodes: usize) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            let block = rand::rng().random_range(FIRST / BLOCK..END / BLOCK) * BLOCK;
            let Ok(lock) = TcpListener::bind(local(block)) else { continue };
            let sockets = (1..BLOCK).map(|port| local(block + port));
            if sockets.clone().all(|socket| TcpListener::bind(socket).is_ok()) {
                let sockets: Vec<_> = sockets.collect();
                let nodes = sockets.chunks(3).take(nodes);
                let nodes =
                    nodes.map(|at| NodePorts { kafka: at[0], peer: at[1], admin: at[2] }).collect();
                return Ok(Self { nodes, _lock: Some(lock) });
            }
        }
        bail!("no {BLOCK} free ports in a row between {FIRST} and {END} in {ATTEMPTS} attempts")
    }

    /// The ports of node `id`, counted from 1.
    pub(super) fn of(&self, id: NodeId) -> NodePorts {
        self.nodes[id as usize - 1]
    }
}

fn fixed(address: IpAddr, node: u16) -> NodePorts {
    let [kafka, peer, admin] =
        [9092, 7092, 8092].map(|port| SocketAddr::from((address, port + node)));
    NodePorts { kafka, peer, admin }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_reservations_share_no_port() {
        let reservations = [(); 3].map(|()| Reservation::take(Ports::Free, 5).unwrap());
        let mut ports: Vec<u16> = reservations
            .iter()
            .flat_map(|taken| &taken.nodes)
            .flat_map(|node| [node.kafka, node.peer, node.admin])
            .map(|socket| socket.port())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 45);
        assert!(ports.iter().all(|port| (FIRST..END).contains(port)));
    }

    #[test]
    fn fixed_ports_are_the_documented_ones() {
        let taken = Reservation::take(Ports::Fixed, 3).unwrap();
        let third = taken.of(3);
        assert_eq!(third.kafka.to_string(), "127.0.0.1:9094");
        assert_eq!(third.peer.to_string(), "127.0.0.1:7094");
        assert_eq!(third.admin.to_string(), "127.0.0.1:8094");
    }
}
