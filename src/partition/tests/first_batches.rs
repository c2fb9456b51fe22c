//! A producer's batches that go to two leaders: none overtakes another, and none is taken twice or refused for ever.

use super::*;

fn is_unknown(answer: &Result<Offset, PartitionError>) -> bool {
    matches!(answer, Err(PartitionError::Sequence(SequenceError::Unknown { .. })))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_one_is_refused_by_the_old_leader_and_the_second_asked_of_the_new_one() {
    let mut nodes = Nodes::start(3).await;
    let old = nodes.leader().await;
    let to = nodes.0[(old + 1) % 3].id;
    nodes.0[old].partition().group().transfer_leader(to).await.unwrap();
    let new = nodes.leader().await;
    assert_ne!(old, new);

    let at_old = produce(nodes.0[old].partition(), idempotent(0)).await;
    assert!(matches!(at_old, Err(PartitionError::NotLeader)), "{at_old:?}");
    let leader = Arc::clone(nodes.0[new].partition());
    for sequence in 1..=4 {
        let early = produce(&leader, idempotent(sequence)).await;
        assert!(is_unknown(&early), "{sequence}: {early:?}");
    }
    // The client sends again what was refused, the oldest first.
    produce_all(&leader, 0..5).await;
    assert_eq!(leader.high_watermark(), Offset(5));
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_known_to_an_earlier_log_goes_on_where_it_was() {
    let mut nodes = Nodes::start(1).await;
    nodes.leader().await;
    let partition = Arc::clone(nodes.0[0].partition());
    assert!(is_unknown(&produce(&partition, idempotent(700)).await));
    produce_all(&partition, 700..705).await;
    assert_eq!(produce(&partition, idempotent(704)).await.unwrap(), Offset(4), "a retry");
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_answer_was_lost_long_ago_is_known_to_be_there() {
    let mut nodes = Nodes::start(3).await;
    let old = nodes.leader().await;
    produce(nodes.0[old].partition(), idempotent(0)).await.unwrap();
    let to = nodes.0[(old + 1) % 3].id;
    nodes.0[old].partition().group().transfer_leader(to).await.unwrap();
    let leader = Arc::clone(nodes.0[nodes.leader().await].partition());
    produce_all(&leader, 1..30).await;

    let retry = produce(&leader, idempotent(0)).await;
    let is_duplicate =
        matches!(retry, Err(PartitionError::Sequence(SequenceError::Duplicate { found: 0, .. })));
    assert!(is_duplicate, "{retry:?}");
    assert_eq!(leader.high_watermark(), Offset(30));
    nodes.stop().await;
}

/// Another may lead by then, and have taken what this one misses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_may_be_deposed_calls_nothing_out_of_order() {
    let mut nodes = Nodes::start(3).await;
    let at = nodes.leader().await;
    let leader = Arc::clone(nodes.0[at].partition());
    produce_all(&leader, 0..2).await;
    let gap = produce(&leader, idempotent(7)).await;
    let is_out_of_order =
        |answer| matches!(answer, Err(PartitionError::Sequence(SequenceError::OutOfOrder { .. })));
    assert!(is_out_of_order(gap));
    for other in (0..3).filter(|other| *other != at) {
        nodes.0[other].stop().await;
    }
    until("it is not sure to lead", || !leader.group().is_confirmed()).await;
    let gap = produce(&leader, idempotent(7)).await;
    assert!(matches!(gap, Err(PartitionError::NotLeader)), "{gap:?}");
    nodes.0[at].stop().await;
}
