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
    let next = cluster.leader().await;
    let back = cluster.nodes[next].hand_to_preferred(GROUP).await;
    assert!(matches!(back, Err(HandoverError::Leaving(node)) if node == preferred), "{back:?}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_handed_to_the_preferred_node_when_asked_for_and_able() {
    let preferred = NodeId(2);
    let mut homes = homes(3);
    // Nothing is given back by itself.
    homes.iter_mut().for_each(|home| {
        (home.preferred, home.settle_ms) = (Some(preferred), 3_600_000);
    });
    let cluster = Cluster::start_at(homes).await;
    let first = cluster.leader().await;
    if first != 1 {
        let group = &cluster.groups[first];
        within("a transfer", group.transfer_leader(preferred)).await.unwrap();
    }
    until(&cluster.groups[1], "leads", |status| status.leader_ready).await;
    let none = cluster.nodes[1].hand_to_preferred(GROUP).await;
    assert!(matches!(none, Err(HandoverError::NotNeeded)), "{none:?}");
    let unknown = GroupId { topic: 9, partition: 9 };
    let none = cluster.nodes[1].hand_to_preferred(unknown).await;
    assert!(matches!(none, Err(HandoverError::NotLeader)), "{none:?}");

    within("a transfer", cluster.groups[1].transfer_leader(NodeId(3))).await.unwrap();
    until(&cluster.groups[2], "leads", |status| status.leader_ready).await;
    propose_all(&cluster.groups[2], 0..20).await;
    let none = cluster.nodes[0].hand_to_preferred(GROUP).await;
    assert!(matches!(none, Err(HandoverError::NotLeader)), "{none:?}");
    let level = |status: &GroupStatus| status.lag(preferred) == Some(0);
    until(&cluster.groups[2], "the preferred one has it all", level).await;
    let before = cluster.nodes[2].counts();
    within("a hand-over", cluster.nodes[2].hand_to_preferred(GROUP)).await.unwrap();
    until(&cluster.groups[1], "leads again", |status| status.leader_ready).await;
    let after = cluster.nodes[2].counts();
    assert_eq!((before.groups, before.led, after.led), (1, 1, 0));
    assert_eq!(after.transfers_made, before.transfers_made + 1);
    assert_eq!(after.transfers_failed, before.transfers_failed);
    assert!(before.elections_won >= 1 && cluster.nodes[1].counts().elections_won >= 2);

    within("a transfer", cluster.groups[1].transfer_leader(NodeId(3))).await.unwrap();
    // The old leader may know it before the new one says it of itself.
    until(&cluster.groups[2], "leads", |status| status.leader_ready).await;
    cluster.nodes[1].shutdown().await;
    let mut peers = cluster.nodes[2].peers();
    drop(within("it is gone", peers.wait_for(|peers| !peers[&preferred].alive)).await.unwrap());
    let none = cluster.nodes[2].hand_to_preferred(GROUP).await;
    assert!(matches!(none, Err(HandoverError::Unreachable(node)) if node == preferred), "{none:?}");
    assert!(cluster.groups[2].status().borrow().is_leader, "it leads on");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_group_is_handed_to_a_replica_that_has_heard_nothing_since_it_started() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    propose_all(&cluster.groups[leader], 0..20).await;
    applied_everywhere(&cluster.homes, &bytes(0..20)).await;
    let to = (leader + 1) % 3;
    let id = cluster.homes[to].id;
    cluster.restart(to, leader).await;

    let begun = Instant::now();
    within("a transfer", cluster.groups[leader].transfer_leader(id)).await.unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(300), "{took:?}: an election would take longer");
    until(&cluster.groups[to], "leads", |status| status.leader_ready).await;
    propose_all(&cluster.groups[to], 20..40).await;
    cluster.stop().await;
}
