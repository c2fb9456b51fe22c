//! A node as a host of the simulation: the whole broker, on a simulated network and disk.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use jackdaw::broker::{Node, Surroundings};
use jackdaw::config::{ListenerConfig, NodeAddress, NodeConfig, StorageConfig};
use jackdaw::model::{BrokerId, SystemClock};
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
        async move {
            let node = Node::start(config, surroundings).await.map_err(|e| format!("{e:#}"))?;
            std::future::pending::<()>().await;
            node.stop().await;
            Ok(())
        }
    });
}

fn surroundings(network: &SimNetwork, volume: &Arc<Volume>) -> Surroundings {
    let disk = SimDisk::new(volume);
    let fatal = {
        let disk = disk.clone();
        Arc::new(move |doing: &str, error: &std::io::Error| {
            assert!(!disk.is_alive(), "{doing} failed: {error}");
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
            ..StorageOptions::default()
        },
        clock: Arc::new(SystemClock),
        has_threads: false,
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
