//! What clients do while a cluster is broken and mended.

mod committer;
mod ledger;
mod producer;
mod reader;
mod witness;

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub(crate) use ledger::Ledger;

use crate::client::Session;
use crate::names::TOPIC;
use crate::net::SimNetwork;
use crate::setup::Setup;

/// Makes the topic.
pub(crate) async fn found(network: SimNetwork, setup: Setup, ledger: Ledger) {
    let mut session = Session::new(network, &setup.nodes(), TOPIC);
    let configs = [("segment.ms", setup.segment_ms.to_string())];
    let replicas = setup.replicas();
    while session.create_topic(setup.partitions, replicas, &configs).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ledger.topic_is_there();
}

/// Everything that clients do until the load ends: producers, consumers, commits, witnesses.
pub(crate) async fn load(network: SimNetwork, setup: Setup, ledger: Ledger) {
    ledger.until_topic_is_there().await;
    let session = || Session::new(network.clone(), &setup.nodes(), TOPIC);
    let mut random = SmallRng::seed_from_u64(setup.seed ^ 0x10ad);
    let mut tasks = tokio::task::JoinSet::new();
    for lane in producer::lanes(&setup) {
        let seed = random.random();
        tasks.spawn_local(lane.run(session(), ledger.clone(), seed));
    }
    tasks.spawn_local(reader::tail(session(), setup.clone(), ledger.clone()));
    tasks.spawn_local(committer::run(session(), setup.clone(), ledger.clone()));
    for node in setup.nodes() {
        tasks.spawn_local(witness::run(session(), node, setup.clone(), ledger.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a workload's panic ends the process");
    }
    ledger.load_is_over();
}

/// Reads everything, once the load has ended.
pub(crate) async fn read_all(network: SimNetwork, setup: Setup, ledger: Ledger) {
    let session = Session::new(network, &setup.nodes(), TOPIC);
    ledger.until_load_is_over().await;
    reader::read_all(session, setup, ledger).await;
}
