//! A node as a host of the simulation: the whole broker, on a simulated network and disk.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use jackdaw::broker::{Node, Surroundings};
use jackdaw::config::{ListenerConfig, NodeAddress, NodeConfig, StorageConfig};
use jackdaw::model::{BrokerId, Clock, SystemClock, Timestamp};
use jackdaw::storage::StorageOptions;
use jackdaw_raft::Network;
use turmoil::Sim;

use super::Machine;
use crate::disk::{SimDisk, SimStore, SimWorkers, Volume};
use crate::names::{KAFKA_PORT, PEER_PORT, node_name};
use crate::net::{Cuts, SimNetwork};
use crate::setup::Setup;

/// Registers a node, which starts with the simulation and after every crash.
pub(super) fn host(sim: &mut Sim<'_>, setup: &Setup, machine: &Machine, cuts: &Arc<Cuts>) {
    let config = config(setup, machine.node, machine.volume.root());
    let network = SimNetwork::new(&machine.host, cuts);
    let volume = Arc::clone(&machine.volume);
    sim.host(machine.host.as_str(), move || {
        let (config, surroundings) = (config.clone(), surroundings(&network, &volume));
        let (volume, incarnation) = (Arc::clone(&volume), volume.incarnation());
        async move {
            let _node = match Node::start(config, surroundings).await {
                Ok(node) => node,
                // Whoever started it starts it again.
                Err(error) if volume.is_struck() => {
                    tracing::info!("the start fails: {error:#}");
                    volume.end_process(incarnation);
                    return std::future::pending().await;
                }
                Err(error) => return Err(format!("{error:#}").into()),
            };
            std::future::pending().await
        }
    });
}

fn surroundings(network: &SimNetwork, volume: &Arc<Volume>) -> Surroundings {
    let disk = SimDisk::new(volume);
    let fatal = {
        let disk = disk.clone();
        Arc::new(move |doing: &str, error: &std::io::Error| {
            tracing::info!(doing, %error, "the process ends");
            disk.end_process();
        })
    };
    Surroundings {
        bind: Arc::new(network.clone()),
        network: Network::new(network.clone()),
        storage: StorageOptions {
            disk: Arc::new(disk),
            workers: Some(Arc::new(SimWorkers(Arc::clone(volume)))),
            store: Arc::new(SimStore::new(volume)),
            fatal,
            clock: Arc::new(NodeClock(Arc::clone(volume))),
            ..StorageOptions::default()
        },
        clock: Arc::new(NodeClock(Arc::clone(volume))),
        has_threads: false,
    }
}

/// A node's wall clock, which jumps.
struct NodeClock(Arc<Volume>);

impl Clock for NodeClock {
    fn now(&self) -> Timestamp {
        Timestamp(SystemClock.now().0 + self.0.clock_offset_ms())
    }
}

fn config(setup: &Setup, node: i32, data_dir: &Path) -> NodeConfig {
    let address = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let nodes: BTreeMap<BrokerId, NodeAddress> = setup
        .nodes()
        .into_iter()
        .map(|id| (BrokerId(id), NodeAddress { peer: format!("{}:{PEER_PORT}", node_name(id)) }))
        .collect();
    NodeConfig {
        node_id: BrokerId(node),
        cluster: "sim".to_owned(),
        data_dir: data_dir.to_owned(),
        listeners: ListenerConfig {
            kafka: address(KAFKA_PORT),
            peer: address(PEER_PORT),
            admin: address(0),
            advertised_host: node_name(node),
            advertised_port: None,
        },
        nodes,
        storage: StorageConfig {
            // The least that there is.
            segment_bytes: 1 << 20,
            index_interval_bytes: 1_024,
            open_segments_max: 32,
            retention_check_interval_ms: 5_000,
            compaction_bytes_per_second: u64::MAX,
            cache_bytes: 256 << 10,
            ..StorageConfig::default()
        },
        ..NodeConfig::default()
    }
}
