//! A start goes over the log from the state that was kept beside it, and finds what the whole log says.

use super::*;

/// What a start finds in `dir`, and what it finds without the state that was kept there.
fn found_twice(dir: &Path, committed: Option<LogId>) -> [(Rebuilt, Offset); 2] {
    let whole = tempfile::tempdir().unwrap();
    copy(dir, whole.path());
    std::fs::remove_file(whole.path().join("applied")).unwrap();
    [dir, whole.path()].map(|dir| {
        let log = open_log(dir);
        let rebuilt = Rebuilt::from_log(&log, committed).unwrap();
        (rebuilt, log.start_offset())
    })
}

fn assert_same(found: &[(Rebuilt, Offset); 2]) {
    let [(from_kept, start), (from_log, start_of_log)] = found;
    assert_eq!(from_kept.applied, from_log.applied);
    assert_eq!(from_kept.producers, from_log.producers);
    assert_eq!(from_kept.membership, from_log.membership);
    assert_eq!(from_kept.high_watermark, from_log.high_watermark);
    assert_eq!((from_kept.first_index, start), (from_log.first_index, start_of_log));
}

/// A node that was stopped, with records, some of them deleted.
async fn stopped(cleanly: bool) -> Nodes {
    let mut nodes = Nodes::start(1).await;
    nodes.leader().await;
    let partition = Arc::clone(nodes.0[0].partition());
    produce_all(&partition, 0..30).await;
    partition.delete_records(Some(Offset(11))).await.unwrap();
    produce_all(&partition, 30..50).await;
    if cleanly {
        assert!(partition.close().await);
    }
    nodes.stop().await;
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_of_use_after_a_kill() {
    let nodes = stopped(false).await;
    let dir = nodes.0[0].dir.path();
    let last = open_log(dir).last().unwrap();
    let found = found_twice(dir, Some(LogId { term: last.term, index: last.index }));
    assert_same(&found);
    assert!(found[0].0.bytes < found[1].0.bytes / 2, "it went over most of the log");
    assert_eq!(found[0].1, Offset(11));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_clean_stop_nothing_is_gone_over() {
    let nodes = stopped(true).await;
    let [(rebuilt, _), _] = found_twice(nodes.0[0].dir.path(), None);
    assert_eq!((rebuilt.bytes, rebuilt.high_watermark), (0, Offset(50)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_of_no_use_where_the_log_ends_before_it_or_it_is_damaged() {
    let nodes = stopped(true).await;
    let dir = nodes.0[0].dir.path();
    let upto = LogId { term: open_log(dir).last().unwrap().term, index: 20 };
    let path = dir.join("applied");
    let kept = std::fs::read(&path).unwrap();
    let mut damaged = kept.clone();
    damaged[40] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    assert_same(&found_twice(dir, Some(upto)));

    std::fs::write(&path, kept).unwrap();
    open_log(dir).truncate_after(Some(upto.index)).unwrap();
    let found = found_twice(dir, Some(upto));
    assert_same(&found);
    assert_eq!(found[0].0.applied, Some(upto));
}
