//! Replicas whose peers have compacted what they lack, and what is known of producers then.

use super::*;
use crate::model::Timestamp;
use crate::model::batch_builder::BatchBuilder;
use crate::model::compression::Compression;
use crate::model::records::{RecordBatch, batches};
use crate::model::{ProducerEpoch, ProducerId};
use crate::partition::{Found, TimestampQuery};
use crate::storage::CompactionLimits;

const LIMITS: CompactionLimits = CompactionLimits {
    dirty_ratio_min: 0.5,
    lag_min_ms: 0,
    lag_max_ms: u64::MAX,
    tombstones_ms: 1_000,
};

/// The producer's `sequence`-th record, of one of three keys.
fn keyed(sequence: i32) -> Bytes {
    let producer = (ProducerId(PRODUCER), ProducerEpoch(0), sequence);
    let mut builder =
        BatchBuilder::new(Compression::Lz4).producer(producer.0, producer.1, producer.2);
    let key = format!("k{}", sequence % 3);
    let value: Vec<u8> = (0..200).map(|n| (n * 37 + sequence) as u8).collect();
    let time = Timestamp(i64::from(sequence) * 100);
    builder.append(time, Some(key.as_bytes()), Some(&value), &[]);
    builder.build().unwrap()
}

async fn produce_keyed(partition: &Partition, sequences: std::ops::Range<i32>) {
    for sequence in sequences {
        assert_eq!(produce(partition, keyed(sequence)).await.unwrap(), Offset(sequence.into()));
    }
}

/// Compacts all that is sealed; the first offset that was not.
fn compact(partition: &Partition) -> Offset {
    partition.set_compaction(Some(LIMITS));
    assert!(partition.dirt(Timestamp(0)).unwrap().is_some());
    let done = partition.compact(Timestamp(0), 1 << 20, &mut |_| true).unwrap();
    assert!(done.finished && done.records_dropped > 0, "{done:?}");
    assert_eq!(partition.dirt(Timestamp(0)).unwrap(), None);
    done.upto
}

/// The offsets that still have records.
fn offsets(log: &Log) -> Vec<i64> {
    let mut all = Vec::new();
    // From the files: recent entries are in memory as they came.
    for slice in log.slices(log.start_offset(), log.end_offset(), 1 << 20, true).unwrap() {
        for batch in batches(slice.read().unwrap()) {
            let batch = RecordBatch::decode(&batch.unwrap(), 1 << 20).unwrap();
            all.extend(batch.iter().map(|record| record.unwrap().offset.0));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_away_is_sent_what_compaction_left() {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    produce_keyed(nodes.0[leader].partition(), 0..5).await;
    let away = (leader + 1) % 3;
    let behind = Arc::clone(nodes.0[away].partition());
    until("it has the first records", || behind.high_watermark() == Offset(5)).await;
    nodes.0[away].stop().await;
    produce_keyed(nodes.0[leader].partition(), 5..60).await;
    let mut upto = Offset(0);
    for at in (0..3).filter(|at| *at != away) {
        let partition = nodes.0[at].partition();
        until("all is applied", || partition.high_watermark() == Offset(60)).await;
        upto = compact(partition);
    }
    let left: Vec<i64> = (upto.0 - 3..60).collect();
    assert!(upto > Offset(40), "{upto}");
    assert_eq!(offsets(nodes.0[leader].partition().log()), left);

    // Started again, they read what they replicate from their disks, compacted.
    nodes.stop().await;
    for at in 0..3 {
        nodes.restart(at).await;
    }
    let leader = nodes.leader().await;
    assert_ne!(leader, away);
    let back = Arc::clone(nodes.0[away].partition());
    until("it has caught up", || back.high_watermark() == Offset(60)).await;
    let had = [0, 1, 2, 3, 4].iter().chain(&left).copied().collect::<Vec<_>>();
    assert_eq!(offsets(back.log()), had, "what it had, and what the others still have");
    // Its segments end elsewhere, and so does what may be compacted.
    let upto = compact(&back);
    assert_eq!(offsets(back.log()), (upto.0 - 3..60).collect::<Vec<_>>());

    // A retry of a record that is not there any more is recognised, and the sequence goes on.
    let partition = Arc::clone(nodes.0[leader].partition());
    partition.group().transfer_leader(nodes.0[away].id).await.unwrap();
    until("it leads", || back.check_leader(-1).is_ok()).await;
    assert_eq!(produce(&back, keyed(56)).await.unwrap(), Offset(56));
    assert!(matches!(
        produce(&back, keyed(61)).await,
        Err(PartitionError::Sequence(SequenceError::OutOfOrder { expected: 60, .. }))
    ));
    produce_keyed(&back, 60..63).await;
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_and_lookups_are_the_same_after_compaction_and_a_restart() {
    let mut nodes = Nodes::start(1).await;
    nodes.leader().await;
    produce_keyed(nodes.0[0].partition(), 0..40).await;
    // Of a batch of several records some are superseded later: its sequences stay its own.
    let mut builder =
        BatchBuilder::new(Compression::None).producer(ProducerId(9), ProducerEpoch(0), 0);
    for (at, key) in ["k0", "x", "k1"].iter().enumerate() {
        let time = Timestamp(90_000 - at as i64);
        builder.append(time, Some(key.as_bytes()), Some(&[1; 50]), &[]);
    }
    let several = builder.build().unwrap();
    assert_eq!(produce(nodes.0[0].partition(), several.clone()).await.unwrap(), Offset(40));
    for sequence in 40..60 {
        let offset = produce(nodes.0[0].partition(), keyed(sequence)).await.unwrap();
        assert_eq!(offset, Offset(i64::from(sequence) + 3));
    }
    for restarted in [false, true] {
        if restarted {
            nodes.0[0].stop().await;
            nodes.restart(0).await;
            nodes.0[0].partition().group().elect().await;
            nodes.leader().await;
        } else {
            compact(nodes.0[0].partition());
        }
        let partition = nodes.0[0].partition();
        assert_eq!(offsets(partition.log())[0], 41, "of the batch of three one record is left");
        let found = |query| partition.list_offset(query, -1).unwrap().map(at);
        let at_time = |ms| found(TimestampQuery::At(Timestamp(ms)));
        assert_eq!(at_time(0), Some((41, 89_999)));
        assert_eq!(at_time(89_999), Some((41, 89_999)));
        assert_eq!(at_time(90_000), None, "that record is gone");
        assert_eq!(found(TimestampQuery::Max), Some((41, 89_999)));
        assert_eq!(produce(partition, several.clone()).await.unwrap(), Offset(40), "a retry");
        assert_eq!(produce(partition, keyed(57)).await.unwrap(), Offset(60), "a retry");
    }
    nodes.stop().await;
}

fn at(found: Found) -> (i64, i64) {
    (found.offset.0, found.timestamp.0)
}
