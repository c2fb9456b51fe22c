//! Replicas on disks without room for replication.

use std::fs::File;
use std::io;

use super::*;

/// While it is full, it holds no further file, and no more than a few bytes: what ballast is worth.
#[derive(Default)]
struct FullDisk(AtomicBool);

impl Disk for FullDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        if self.0.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        SystemDisk.create(path)
    }

    fn allocate(&self, file: &File, position: u64, len: u64) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) && len > 200 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        SystemDisk.allocate(file, position, len)
    }
}

impl Nodes {
    fn fill(&self, full: bool) {
        self.0.iter().for_each(|node| node.full.store(full, Ordering::Relaxed));
    }

    async fn all_at(&self, high: Offset) {
        let are_there = || self.0.iter().all(|n| n.partition().high_watermark() == high);
        until("all know what is committed", are_there).await;
    }
}

/// Deletes the records below `before`: where no replica takes the command, this would wait for ever.
async fn deletes(partition: &Partition, before: Option<Offset>) -> Offset {
    let deleted = tokio::time::timeout(SOON, partition.delete_records(before)).await;
    deleted.expect("the command is refused").unwrap()
}

/// More than a segment holds: it never goes into room that was taken.
fn large() -> Bytes {
    opaque_batch(1, &[7; 5_000])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn space_is_freed_and_writing_resumes() {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    let partition = Arc::clone(nodes.0[leader].partition());
    produce_all(&partition, 0..30).await;
    nodes.all_at(Offset(30)).await;
    nodes.fill(true);
    let start = partition.log().segments().unwrap()[3].base_offset;
    assert_eq!(deletes(&partition, Some(start)).await, start);
    for node in &nodes.0 {
        until("the command is applied", || node.partition().purge_due()).await;
        node.partition().purge().await.unwrap();
        assert_eq!(node.partition().log().segments().unwrap()[0].base_offset, start);
    }
    let batch = large();
    let header = BatchHeader::parse(&batch).unwrap();
    let waiting = partition.append(batch, header, Acks::All);
    let refused = || nodes.0.iter().any(|node| node.refused.load(Ordering::Relaxed));
    until("the records are refused", refused).await;
    nodes.fill(false);
    assert_eq!(waiting.wait().await.unwrap(), Offset(30));
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_is_elected_and_frees_space() {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    produce_all(&Arc::clone(nodes.0[leader].partition()), 0..30).await;
    nodes.all_at(Offset(30)).await;
    nodes.fill(true);
    nodes.0[leader].stop().await;
    let next = nodes.leader().await;
    let partition = Arc::clone(nodes.0[next].partition());
    assert_eq!(deletes(&partition, None).await, Offset(30));
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_before_the_command_go_into_room_that_was_taken() {
    let mut nodes = Nodes::start(3).await;
    let leader = nodes.leader().await;
    let partition = Arc::clone(nodes.0[leader].partition());
    produce_all(&partition, 0..30).await;
    nodes.all_at(Offset(30)).await;
    // Seals the segment: the next one has room for one record.
    deletes(&partition, None).await;
    nodes.fill(true);
    let produced = tokio::time::timeout(SOON, produce_all(&partition, 30..31)).await;
    produced.expect("the record is refused");
    assert_eq!(deletes(&partition, None).await, Offset(31));
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_found_no_space_are_refused_and_nothing_waits_behind_them() {
    let disk = Arc::new(FullDisk::default());
    let on = Arc::clone(&disk) as Arc<dyn Disk>;
    let mut nodes = Nodes::start_on(1, FlushPolicy::Durable, on).await;
    nodes.leader().await;
    let partition = Arc::clone(nodes.0[0].partition());
    produce_all(&partition, 0..30).await;
    disk.0.store(true, Ordering::Relaxed);
    for acks in [Acks::All, Acks::Leader] {
        let submitted: Vec<_> = (0..3)
            .map(|_| {
                let batch = large();
                let header = BatchHeader::parse(&batch).unwrap();
                partition.append(batch, header, acks)
            })
            .collect();
        for waiting in submitted {
            let answer = tokio::time::timeout(SOON, waiting.wait()).await;
            let refused = answer.expect("the records are refused");
            let is_certain =
                matches!(refused, Err(PartitionError::NotLeader | PartitionError::Full));
            assert!(is_certain, "{refused:?}");
        }
    }
    assert_eq!(deletes(&partition, Some(Offset(20))).await, Offset(20));
    disk.0.store(false, Ordering::Relaxed);
    produce_all(&partition, 30..40).await;
    assert_eq!(partition.high_watermark(), Offset(40));
    nodes.stop().await;
}
