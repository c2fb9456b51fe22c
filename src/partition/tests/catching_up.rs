//! A replica that was away while its entries were purged.

use std::fs::File;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::model::Timestamp;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lacks_purged_entries_gets_the_snapshot_then_every_retained_record() {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    produce_all(nodes.0[leader].partition(), 0..5).await;
    let away = (leader + 1) % 3;
    nodes.0[away].stop().await;
    produce_all(nodes.0[leader].partition(), 5..60).await;

    let partition = Arc::clone(nodes.0[leader].partition());
    partition.set_retention(keep_bytes(4_000));
    let from = partition.expired(Timestamp(0)).unwrap().unwrap();
    assert_eq!(partition.retain(from).await.unwrap(), from.start_offset);
    assert!(from.start_offset > Offset(20), "{from:?}");
    let present: Vec<usize> = (0..3).filter(|at| *at != away).collect();
    for at in &present {
        let partition = nodes.0[*at].partition();
        until("the command is applied", || partition.purge_due()).await;
        partition.purge().await.unwrap();
        assert_eq!(partition.log().first_index(), from.first_index);
        assert_eq!(partition.log().start_offset(), from.start_offset);
    }
    let files = |at: usize| std::fs::read(nodes.0[at].dir.path().join("snapshot")).unwrap();
    assert_eq!(files(present[0]), files(present[1]), "the snapshot is a function of the log");
    produce_all(&partition, 60..65).await;

    nodes.restart(away).await;
    let back = Arc::clone(nodes.0[away].partition());
    until("it has caught up", || back.high_watermark() == Offset(65)).await;
    assert_eq!(back.log().first_index(), from.first_index);
    assert_eq!(back.log().start_offset(), from.start_offset);

    // It knows of producers what only purged entries said: a retry is recognised, also of a record
    // that is not there any more, and the sequence goes on.
    partition.group().transfer_leader(nodes.0[away].id).await.unwrap();
    until("it leads", || back.check_leader(-1).is_ok()).await;
    assert_eq!(produce(&back, idempotent(64)).await.unwrap(), Offset(64));
    assert!(matches!(
        produce(&back, idempotent(66)).await,
        Err(PartitionError::Sequence(SequenceError::OutOfOrder { expected: 65, .. }))
    ));
    produce_all(&back, 65..70).await;
    for node in &nodes.0 {
        let partition = node.partition();
        until("all have all", || partition.high_watermark() == Offset(70)).await;
    }
    nodes.stop().await;
    let records = nodes.0.iter().map(|node| node.records(from.start_offset, Offset(70)));
    let records: Vec<_> = records.collect();
    assert_eq!(records[0].0, 70 - from.start_offset.0 as u64);
    assert!(records.iter().all(|other| *other == records[0]), "{records:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_lags_but_holds_the_retained_start_loses_nothing() {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    let partition = Arc::clone(nodes.0[leader].partition());
    produce_all(&partition, 0..40).await;
    let away = (leader + 1) % 3;
    let behind = Arc::clone(nodes.0[away].partition());
    until("it has the first records", || behind.high_watermark() == Offset(40)).await;
    nodes.0[away].stop().await;
    produce_all(&partition, 40..50).await;
    // Purged is less than what the node that is away holds.
    partition.set_retention(keep_bytes(9_000));
    let from = partition.expired(Timestamp(0)).unwrap().unwrap();
    assert!(from.start_offset > Offset(0) && from.start_offset < Offset(40), "{from:?}");
    partition.retain(from).await.unwrap();
    partition.purge().await.unwrap();

    nodes.restart(away).await;
    let back = Arc::clone(nodes.0[away].partition());
    // What it had is there; its leader may have sent more already.
    assert!(back.log().end_offset() >= Offset(40), "{:?}", back.log().end_offset());
    until("it has caught up", || back.high_watermark() == Offset(50)).await;
    until("it follows the command", || back.log().start_offset() == from.start_offset).await;
    back.purge().await.unwrap();
    assert_eq!(back.log().first_index(), from.first_index);
    nodes.stop().await;
    let held = |at: usize| nodes.0[at].records(from.start_offset, Offset(50));
    assert_eq!(held(away), held(leader));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_partition_whose_records_are_all_expired_is_emptied_on_every_replica() {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    let partition = Arc::clone(nodes.0[leader].partition());
    produce_all(&partition, 0..3).await;
    let limits = RetentionLimits { ms: Some(1), bytes: None };
    partition.set_retention(RetentionPolicy { delete: true, limits });
    let from = partition.expired(Timestamp(i64::MAX)).unwrap().unwrap();
    assert_eq!(from.start_offset, Offset(3));
    partition.retain(from).await.unwrap();
    for node in &nodes.0 {
        let partition = node.partition();
        until("the command is applied", || partition.purge_due()).await;
        partition.purge().await.unwrap();
        assert_eq!(partition.log().segments().unwrap().len(), 1);
        assert_eq!(partition.log().segments().unwrap()[0].first_index, from.first_index);
        assert_eq!(partition.log().start_offset(), Offset(3));
    }
    assert_eq!(partition.expired(Timestamp(i64::MAX)).unwrap(), None, "nothing is left to close");
    assert_eq!(produce(&partition, idempotent(2)).await.unwrap(), Offset(2), "still a retry");
    assert_eq!(produce(&partition, idempotent(3)).await.unwrap(), Offset(3));
    nodes.stop().await;
}

/// A disk that has no descriptor for files with such names.
#[derive(Default)]
struct Scarce {
    lacking: Mutex<&'static str>,
    refused: AtomicUsize,
}

impl Scarce {
    fn check(&self, path: &Path) -> io::Result<()> {
        let lacking = *self.lacking.lock().unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !lacking.is_empty() && name.starts_with(lacking) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(rustix::io::Errno::MFILE.into());
        }
        Ok(())
    }

    fn lack(&self, name: &'static str) {
        *self.lacking.lock().unwrap() = name;
        self.refused.store(0, Ordering::SeqCst);
    }
}

impl Disk for Scarce {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.check(path)?;
        SystemDisk.create(path)
    }

    fn open_or_create(&self, path: &Path) -> io::Result<File> {
        self.check(path)?;
        SystemDisk.open_or_create(path)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_taken_over_once_there_are_descriptors() {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    let away = (leader + 1) % 3;
    nodes.0[away].stop().await;
    produce_all(nodes.0[leader].partition(), 0..60).await;
    let partition = Arc::clone(nodes.0[leader].partition());
    partition.set_retention(keep_bytes(4_000));
    let from = partition.expired(Timestamp(0)).unwrap().unwrap();
    partition.retain(from).await.unwrap();
    for node in nodes.0.iter().filter(|node| node.running.is_some()) {
        until("the command is applied", || node.partition().purge_due()).await;
        node.partition().purge().await.unwrap();
    }

    let disk = Arc::<Scarce>::default();
    nodes.0[away].disk = Arc::clone(&disk) as Arc<dyn Disk>;
    disk.lack("snapshot");
    nodes.restart(away).await;
    let back = Arc::clone(nodes.0[away].partition());
    // The second attempt fails, too; then the first half is done, and the log cannot begin anew.
    for step in ["snapshot", "retained"] {
        disk.lack(step);
        until(step, || disk.refused.load(Ordering::SeqCst) > 3).await;
        assert_eq!(back.log().end_offset(), Offset(0));
    }
    disk.lack("");
    until("it has caught up", || back.high_watermark() == Offset(60)).await;
    assert_eq!(back.log().start_offset(), from.start_offset);
    nodes.stop().await;
    let held = |at: usize| nodes.0[at].records(from.start_offset, Offset(60));
    assert_eq!(held(away), held(leader));
}
