//! DeleteRecords on one partition.

use super::*;
use crate::model::LeaderEpoch;

fn earliest(partition: &Partition) -> (Offset, LeaderEpoch) {
    let found = partition.list_offset(TimestampQuery::Earliest, -1).unwrap().unwrap();
    (found.offset, found.epoch)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_below_the_start_is_served_also_after_a_restart() {
    let mut nodes = Nodes::start(1).await;
    nodes.leader().await;
    let partition = Arc::clone(nodes.0[0].partition());
    produce_all(&partition, 0..30).await;
    let segments = partition.log().segments().unwrap();
    let inside = segments[1].base_offset.advance(2);
    assert!(inside < segments[1].end_offset);

    assert_eq!(partition.delete_records(Some(inside)).await.unwrap(), inside);
    assert_eq!(earliest(&partition).0, inside);
    assert!(matches!(
        partition.read(inside.advance(-1), 100, true, -1),
        Err(PartitionError::OffsetOutOfRange { start, .. }) if start == inside
    ));
    let read = partition.read(inside, 100, true, -1).unwrap();
    assert_eq!((read.start, read.slices.len()), (inside, 1));

    // Back is not possible, nor is ahead of what is committed.
    assert_eq!(partition.delete_records(Some(Offset(1))).await.unwrap(), inside);
    for beyond in [Offset(31), Offset(-2)] {
        let error = partition.delete_records(Some(beyond)).await.unwrap_err();
        assert!(matches!(error, PartitionError::OffsetOutOfRange { .. }), "{error}");
    }
    // A whole segment goes, the one that holds the start stays.
    assert!(partition.purge_due());
    partition.purge().await.unwrap();
    assert_eq!(partition.log().segments().unwrap()[0].base_offset, segments[1].base_offset);
    assert_eq!(earliest(&partition).0, inside);

    nodes.0[0].stop().await;
    nodes.restart(0).await;
    nodes.leader().await;
    let partition = Arc::clone(nodes.0[0].partition());
    assert_eq!(earliest(&partition).0, inside);
    assert_eq!(partition.delete_records(None).await.unwrap(), Offset(30));
    assert_eq!(partition.read(Offset(30), 100, true, -1).unwrap().slices.len(), 0);
    assert_eq!(produce(&partition, idempotent(30)).await.unwrap(), Offset(30));
    let (offset, _) = earliest(&partition);
    assert_eq!(offset, Offset(30));
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_holds_on_the_next_leader() {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    produce_all(nodes.0[leader].partition(), 0..20).await;
    let partition = Arc::clone(nodes.0[leader].partition());
    assert_eq!(partition.delete_records(Some(Offset(13))).await.unwrap(), Offset(13));
    let follower = nodes.0[(leader + 1) % 3].partition();
    assert!(matches!(follower.delete_records(None).await, Err(PartitionError::NotLeader)));
    // Nobody has purged or condensed anything yet: the log alone must say it.
    nodes.0[leader].stop().await;
    let next = nodes.leader().await;
    assert_eq!(earliest(nodes.0[next].partition()).0, Offset(13));
    nodes.stop().await;
}
