//! Snapshots at a retained position, and what waits for the disk.

use super::cluster::*;
use crate::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_purged_to_what_the_machine_retains_and_no_further() {
    let mut homes = homes(1);
    let node = homes[0].start(Default::default()).await;
    let group = homes[0].open(&node).await;
    group.initialize([homes[0].id].into()).await.unwrap();
    until(&group, "leads", |status| status.leader_ready).await;
    propose_all(&group, 0..50).await;
    let retained = homes[0].log.entries()[20].log_id;
    homes[0].machine.retain_from(retained);
    for _ in 0..2 {
        assert_eq!(group.snapshot().await.unwrap(), Some(retained));
        assert_eq!(homes[0].log.state().unwrap().purged, Some(retained));
        assert_eq!(homes[0].log.entries()[0].log_id.index, retained.index + 1);
    }
    propose_all(&group, 50..60).await;
    node.shutdown().await;
    let node = homes[0].start(Default::default()).await;
    let group = homes[0].open(&node).await;
    until(&group, "leads again", |status| status.leader_ready).await;
    propose_all(&group, 60..70).await;
    applied_everywhere(&homes, &bytes(0..70)).await;
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lacks_purged_entries_gets_the_snapshot_then_the_log() {
    let mut cluster = Cluster::start(3).await;
    cluster.groups[0].elect().await;
    let leader = cluster.leader().await;
    let away = (leader + 1) % 3;
    cluster.nodes[away].shutdown().await;
    let group = cluster.groups[leader].clone();
    propose_all(&group, 0..100).await;
    let retained = cluster.homes[leader].log.entries()[80].log_id;
    cluster.homes[leader].machine.retain_from(retained);
    assert_eq!(group.snapshot().await.unwrap(), Some(retained));
    let kept = cluster.homes[leader].log.entries();
    let kept = kept.iter().filter(|entry| matches!(entry.payload, Payload::Data(_))).count() as u64;

    // The node comes back with nothing but its vote, as after a replaced disk: its leader must
    // bear that acknowledged entries are gone there.
    cluster.homes[away].log = Default::default();
    cluster.homes[away].machine = Default::default();
    let peers = addresses(&cluster.homes);
    let node = cluster.homes[away].start(peers).await;
    cluster.homes[away].open(&node).await;
    let expected = bytes(100 - kept..100);
    applied_everywhere(&cluster.homes[away..=away], &expected).await;
    assert_eq!(cluster.homes[away].log.state().unwrap().purged, Some(retained));
    node.shutdown().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_committed_before_a_majority_has_it_on_disk() {
    let cluster = Cluster::start(3).await;
    cluster.groups[0].elect().await;
    let leader = cluster.leader().await;
    propose_all(&cluster.groups[leader], 0..1).await;
    applied_everywhere(&cluster.homes, &bytes(0..1)).await;
    for (position, home) in cluster.homes.iter().enumerate() {
        home.log.hold_flushes(position != leader);
    }
    let mut receiver = cluster.groups[leader].propose(data(1..2)).await.unwrap().remove(0);
    // Both followers hold the entry, readable but not on disk.
    let held = cluster.homes[leader].log.state().unwrap().last.unwrap().index;
    let followers = (0..3).filter(|position| *position != leader);
    for follower in followers.clone() {
        let got = |status: &GroupStatus| status.last >= Some(held);
        until(&cluster.groups[follower], "has the entry", got).await;
    }
    assert!(receiver.try_recv().is_err(), "committed with one copy on disk");
    let first = followers.clone().next().unwrap();
    cluster.homes[first].log.hold_flushes(false);
    within("an answer", receiver).await.unwrap().unwrap();
    followers.for_each(|position| cluster.homes[position].log.hold_flushes(false));
    cluster.stop().await;
}
