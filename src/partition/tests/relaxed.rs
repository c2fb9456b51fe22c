//! Replicas of a topic that does not wait for the disk, after a power cut: their logs are shorter than
//! what they had acknowledged.

use super::*;

const LATER: FlushPolicy = FlushPolicy::Relaxed { messages: u64::MAX, ms: u64::MAX };

async fn relaxed() -> Nodes {
    Nodes::start_with(3, LATER).await
}

impl Nodes {
    /// Waits until all replicas hold what the one at `at` holds.
    async fn level(&self, at: usize) {
        let last = || self.0[at].partition().log().last();
        until("all replicas are level", || {
            let running = self.0.iter().filter(|node| node.running.is_some());
            running.into_iter().all(|node| node.partition().log().last() == last())
        })
        .await;
    }

    /// What a power cut does to the stopped node at `at`: of its log only half is there.
    fn cut(&self, at: usize) {
        let log = open_log(self.0[at].dir.path());
        let half = log.last().unwrap().index / 2;
        log.truncate_after(Some(half)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_lost_acknowledged_records_is_filled_again() {
    let mut nodes = relaxed().await;
    let leader = nodes.leader().await;
    let partition = Arc::clone(nodes.0[leader].partition());
    produce_all(&partition, 0..20).await;
    nodes.level(leader).await;
    let follower = (leader + 1) % 3;
    nodes.0[follower].stop().await;
    nodes.cut(follower);
    nodes.restart(follower).await;
    nodes.level(leader).await;
    produce_all(&partition, 20..25).await;
    nodes.level(leader).await;
    assert_eq!(nodes.0[follower].partition().log().end_offset(), Offset(25));
    assert_eq!(nodes.leader().await, leader, "nobody else was elected");
    drop(partition);
    nodes.stop().await;
    let records: Vec<_> = nodes.0.iter().map(|n| n.records(Offset(0), Offset(25))).collect();
    assert!(records.iter().all(|r| *r == records[0] && r.0 == 25), "{records:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_whose_committed_records_the_others_lost_takes_nothing_until_it_is_emptied() {
    let mut nodes = relaxed().await;
    let leader = nodes.leader().await;
    produce_all(&Arc::clone(nodes.0[leader].partition()), 0..20).await;
    nodes.level(leader).await;
    let committed = || nodes.0.iter().all(|n| n.partition().high_watermark() == Offset(20));
    until("all know that it is committed", committed).await;
    nodes.stop().await;
    for at in [0, 1] {
        nodes.cut(at);
        nodes.restart(at).await;
    }
    let leader = nodes.leader().await;
    let partition = Arc::clone(nodes.0[leader].partition());
    assert!(partition.high_watermark() < Offset(20));
    // Others than those that were lost, at the same offsets, and as many.
    while partition.high_watermark() < Offset(20) {
        produce(&partition, opaque_batch(1, b"new")).await.unwrap();
    }
    nodes.restart(2).await;
    let held = nodes.0[2].partition().log().last();
    // It is asked again and again.
    for _ in 0..5 {
        produce(&partition, opaque_batch(1, b"more")).await.unwrap();
    }
    assert_eq!(nodes.0[2].partition().log().last(), held);
    nodes.0[2].stop().await;
    nodes.0[2].dir = tempfile::tempdir().unwrap();
    nodes.restart(2).await;
    nodes.level(leader).await;
    let end = partition.high_watermark();
    drop(partition);
    nodes.stop().await;
    let records: Vec<_> = nodes.0.iter().map(|n| n.records(Offset(0), end)).collect();
    assert!(records.iter().all(|r| *r == records[0] && r.0 == end.0 as u64), "{records:?}");
}
