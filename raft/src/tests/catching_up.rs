//! A replica that was away is sent what it missed on a connection of its own, at a bounded rate.

use std::time::{Duration, Instant};

use super::cluster::*;
use crate::*;

const ENTRY_BYTES: usize = 20 << 10;
/// Three full messages: the second waits for nothing, the third until the first is paid for.
const ENTRIES: u64 = 600;

fn big(range: std::ops::Range<u64>) -> Vec<Data> {
    let payload = |number: u64| [&number.to_be_bytes()[..], &[7; ENTRY_BYTES]].concat();
    range.map(|number| Data::new(payload(number))).collect()
}

async fn propose_big(group: &Group, range: std::ops::Range<u64>) {
    for receiver in group.propose(big(range)).await.unwrap() {
        within("an applied proposal", receiver).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missed_comes_at_the_rate_and_live_entries_after_it() {
    let mut homes = homes(3);
    homes.iter_mut().for_each(|home| home.catch_up_bytes_per_s = 8 << 20);
    let mut cluster = Cluster::start_at(homes).await;
    cluster.groups[0].elect().await;
    let leader = cluster.leader().await;
    propose_big(&cluster.groups[leader], 0..10).await;

    let away = (leader + 1) % 3;
    let peers = addresses(&cluster.homes);
    cluster.nodes[away].shutdown().await;
    propose_big(&cluster.groups[leader], 10..ENTRIES).await;
    assert_eq!(cluster.nodes[leader].counts().catch_up_bytes, 0);

    let began = Instant::now();
    cluster.nodes[away] = cluster.homes[away].start(peers).await;
    cluster.groups[away] = cluster.homes[away].open(&cluster.nodes[away]).await;
    let expected: Vec<_> = big(0..ENTRIES).into_iter().map(|data| data.bytes).collect();
    applied_everywhere(&cluster.homes, &expected).await;
    let took = began.elapsed();
    let limits = NodeOptions::new(NodeId(1), cluster_id(), Default::default()).limits;
    assert!(ENTRIES * ENTRY_BYTES as u64 > 2 * limits.append_bytes_max);
    assert!(took >= Duration::from_millis(450), "12 MB at 8 MiB/s took {took:?}");
    assert!(cluster.nodes[leader].counts().catch_up_bytes >= limits.append_bytes_max);

    propose_big(&cluster.groups[leader], ENTRIES..ENTRIES + 50).await;
    let expected: Vec<_> = big(0..ENTRIES + 50).into_iter().map(|data| data.bytes).collect();
    applied_everywhere(&cluster.homes, &expected).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_does_not_go_to_a_replica_that_lacks_few_but_large_entries() {
    let preferred = NodeId(2);
    let mut homes = homes(3);
    homes.iter_mut().for_each(|home| {
        (home.preferred, home.settle_ms) = (Some(preferred), 3_600_000);
        home.catch_up_bytes_per_s = 8 << 20;
    });
    let mut cluster = Cluster::start_at(homes).await;
    let first = cluster.leader().await;
    if first != 2 {
        within("a transfer", cluster.groups[first].transfer_leader(NodeId(3))).await.unwrap();
    }
    until(&cluster.groups[2], "leads", |status| status.leader_ready).await;
    let peers = addresses(&cluster.homes);
    cluster.nodes[1].shutdown().await;
    propose_big(&cluster.groups[2], 0..ENTRIES).await;
    cluster.nodes[1] = cluster.homes[1].start(peers).await;
    cluster.groups[1] = cluster.homes[1].open(&cluster.nodes[1]).await;

    let (mut behind, mut status) = (0, cluster.groups[2].status());
    let took = loop {
        let begun = Instant::now();
        match within("a hand-over", cluster.nodes[2].hand_to_preferred(GROUP)).await {
            Ok(()) => break begun.elapsed(),
            Err(HandoverError::Behind { lag, .. }) if lag.bytes.is_some() => behind += 1,
            Err(HandoverError::Behind { .. } | HandoverError::Unreachable(_)) => {}
            Err(other) => panic!("{other}"),
        }
        // It is sent what it lacks, which shows here; that it is there again does not.
        let _ = tokio::time::timeout(Duration::from_millis(20), status.changed()).await;
    };
    assert!(behind > 0, "it was never seen to be behind, though for more than a second");
    assert!(took < Duration::from_millis(500), "{took:?}: it was behind");
    until(&cluster.groups[1], "leads", |status| status.leader_ready).await;
    cluster.stop().await;
}
