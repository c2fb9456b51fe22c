//! A crash between the steps of a purge, and of the installation of a snapshot.

use super::*;
use crate::storage::{EntryId, LogError};

/// A node whose log begins behind a purge; its folder before and after.
async fn purged() -> (Nodes, TempDir, Offset) {
    let mut nodes = Nodes::start(1).await;
    nodes.leader().await;
    let partition = Arc::clone(nodes.0[0].partition());
    produce_all(&partition, 0..40).await;
    let start = partition.log().segments().unwrap()[3].base_offset;
    partition.delete_records(Some(start)).await.unwrap();
    let before = tempfile::tempdir().unwrap();
    copy(nodes.0[0].dir.path(), before.path());
    partition.purge().await.unwrap();
    nodes.0[0].stop().await;
    (nodes, before, start)
}

/// Puts `dir` in the place of the node's folder, starts it, and checks that nothing is lost.
async fn starts_from(nodes: &mut Nodes, dir: TempDir, start: Offset) {
    nodes.0[0].dir = dir;
    nodes.restart(0).await;
    nodes.leader().await;
    let partition = Arc::clone(nodes.0[0].partition());
    assert_eq!(partition.log().start_offset(), start);
    assert_eq!(partition.high_watermark(), Offset(40));
    assert!(partition.read(start, 1 << 20, true, -1).unwrap().slices.iter().any(|s| !s.is_empty()));
    assert_eq!(produce(&partition, idempotent(39)).await.unwrap(), Offset(39));
    assert_eq!(produce(&partition, idempotent(40)).await.unwrap(), Offset(40));
    partition.purge().await.unwrap();
    assert!(!partition.purge_due());
    nodes.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_the_snapshot_is_written_the_log_says_what_to_purge() {
    let (mut nodes, before, start) = purged().await;
    starts_from(&mut nodes, before, start).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_snapshot_and_before_the_mark_the_purge_is_finished() {
    let (mut nodes, before, start) = purged().await;
    let snapshot = nodes.0[0].dir.path().join("snapshot");
    std::fs::copy(snapshot, before.path().join("snapshot")).unwrap();
    starts_from(&mut nodes, before, start).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_the_mark_the_files_are_deleted_by_the_next_start() {
    let (mut nodes, before, start) = purged().await;
    for name in ["snapshot", "retained"] {
        std::fs::copy(nodes.0[0].dir.path().join(name), before.path().join(name)).unwrap();
    }
    starts_from(&mut nodes, before, start).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_installation_that_a_crash_interrupted_is_finished_by_the_next_start() {
    let (nodes, _before, start) = purged().await;
    let dir = tempfile::tempdir().unwrap();
    drop(open_log(dir.path()));
    let snapshot = nodes.0[0].dir.path().join("snapshot");
    std::fs::copy(snapshot, dir.path().join("snapshot")).unwrap();
    let log = open_log(dir.path());
    let rebuilt = rebuild::Rebuilt::from_log(&log, None).unwrap();
    let last = rebuilt.snapshot.unwrap().last;
    assert_eq!(log.last(), Some(EntryId::new(last.term, last.index)));
    assert_eq!(rebuilt.applied, Some(last));
    assert_eq!((log.start_offset(), rebuilt.high_watermark), (start, start));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_log_without_its_snapshot_is_refused() {
    let (nodes, _before, _) = purged().await;
    let path = nodes.0[0].dir.path().join("snapshot");
    std::fs::remove_file(&path).unwrap();
    let log = open_log(nodes.0[0].dir.path());
    let error = rebuild::Rebuilt::from_log(&log, None).err().unwrap();
    assert!(matches!(&error, LogError::Corrupt { path: named, .. } if *named == path), "{error}");
}
