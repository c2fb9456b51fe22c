//! Leaderships that change hands on purpose.

use std::time::{Duration, Instant};

use super::cluster::*;
use crate::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_hands_over_before_it_stops_and_is_given_back_what_it_is_preferred_for() {
    let preferred = NodeId(2);
    let mut cluster = Cluster::start_preferring(3, Some(preferred)).await;
    // At first or in the end: whoever was faster gives it the group.
    until(&cluster.groups[1], "leads", |status| status.leader_ready).await;
    propose_all(&cluster.groups[1], 0..50).await;

    let begun = Instant::now();
    cluster.nodes[1].hand_over(SOON).await;
    let took = begun.elapsed();
    assert!(!cluster.groups[1].status().borrow().is_leader);
    assert!(took < Duration::from_millis(300), "{took:?}: an election would take longer");
    cluster.nodes[1].shutdown().await;
    let (mut home, _) = (cluster.homes.remove(1), cluster.groups.remove(1));
    cluster.nodes.remove(1);
    let next = cluster.leader().await;
    propose_all(&cluster.groups[next], 50..100).await;

    let mut peers = addresses(&cluster.homes);
    peers.insert(home.id, home.address.to_string());
    let node = home.start(peers).await;
    let group = home.open(&node).await;
    until(&group, "leads again", |status| status.leader_ready).await;
    propose_all(&group, 100..150).await;
    cluster.homes.push(home);
    applied_everywhere(&cluster.homes, &bytes(0..150)).await;
    node.shutdown().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_an_able_successor_keeps_its_groups() {
    let cluster = Cluster::start_preferring(3, Some(NodeId(1))).await;
    let leader = cluster.leader().await;
    propose_all(&cluster.groups[leader], 0..10).await;
    for at in (0..3).filter(|at| *at != leader) {
        cluster.nodes[at].shutdown().await;
    }
    let mut peers = cluster.nodes[leader].peers();
    let gone = peers.wait_for(|peers| peers.values().all(|peer| !peer.alive));
    drop(within("both peers are gone", gone).await.unwrap());
    within("a hand-over that hands nothing", cluster.nodes[leader].hand_over(SOON)).await;
    assert!(cluster.groups[leader].status().borrow().is_leader);
    cluster.nodes[leader].shutdown().await;
}
