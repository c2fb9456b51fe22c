//! Tests of the store.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::sled_store::{AHEAD_BYTES, BLOCK_BYTES};
use super::*;
use crate::storage::{Disk, StorageOptions, SystemDisk};

fn rss_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_was_committed_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::default();
    let before = rss_kib();
    let begun = std::time::Instant::now();
    let kv = Kv::open(&dir.path().join("kv"), &storage).unwrap();
    println!("opened in {:?}, {} KiB", begun.elapsed(), rss_kib().saturating_sub(before));
    let tree = kv.tree("votes").unwrap();
    let mut batch = Batch::new();
    batch.put(b"a/1", b"one");
    batch.put(b"a/2", b"two");
    batch.put(b"b/1", &vec![7; 300_000]);
    kv.commit(&tree, batch).unwrap().wait().unwrap();
    let mut batch = Batch::new();
    batch.delete(b"a/1");
    kv.commit(&tree, batch).unwrap().wait().unwrap();
    drop((tree, kv));
    let kv = Kv::reopen(&dir.path().join("kv"), &storage);
    let tree = kv.tree("votes").unwrap();
    assert_eq!(tree.get(b"a/1").unwrap(), None);
    assert_eq!(tree.get(b"b/1").unwrap().unwrap().len(), 300_000);
    let found: Vec<_> = tree.scan(b"a/").map(Result::unwrap).collect();
    assert_eq!(found, [("a/2".into(), "two".into())]);
    tree.clear().unwrap();
    assert!(tree.is_empty());
}

#[test]
fn a_second_opening_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::default();
    let kv = Kv::open(dir.path(), &storage).unwrap();
    let error = Kv::open(dir.path(), &storage).err().unwrap();
    assert!(matches!(error, KvError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("another process"));
    drop(kv);
    Kv::reopen(dir.path(), &storage);
}

#[derive(Default)]
struct CountingDisk(AtomicUsize);

impl Disk for CountingDisk {
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        SystemDisk.sync_data(file)
    }
}

#[tokio::test]
async fn concurrent_commits_share_flushes() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(CountingDisk::default());
    let storage = Storage::new(StorageOptions {
        disk: Arc::clone(&disk) as Arc<dyn Disk>,
        ..StorageOptions::default()
    });
    let kv = Kv::open(dir.path(), &storage).unwrap();
    let tree = kv.tree("t").unwrap();
    let commits: Vec<Durable> = (0..500_u32)
        .map(|n| {
            let mut batch = Batch::new();
            batch.put(&n.to_be_bytes(), b"value");
            kv.commit(&tree, batch).unwrap()
        })
        .collect();
    for commit in commits {
        commit.await.unwrap();
    }
    let syncs = disk.0.load(Ordering::SeqCst);
    assert!((1..500).contains(&syncs), "{syncs}");
    assert_eq!(tree.iter().count(), 500);
}

#[test]
fn what_is_written_on_a_full_disk_finds_its_blocks_there() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Kv::open(dir.path(), &Storage::default()).unwrap();
    let ahead = || {
        let found = std::fs::metadata(dir.path().join("db")).unwrap();
        (found.blocks() * BLOCK_BYTES).saturating_sub(found.len())
    };
    assert!(ahead() >= AHEAD_BYTES / 2);
    let tree = kv.tree("t").unwrap();
    for n in 0..200_u32 {
        let mut batch = Batch::new();
        batch.put(&n.to_be_bytes(), &[n as u8; 10_000]);
        tree.apply(batch).unwrap();
    }
    kv.flush().unwrap();
    assert!(ahead() >= AHEAD_BYTES / 2);
}

#[test]
fn an_unfinished_snapshot_keeps_no_start_from_succeeding() {
    let dir = tempfile::tempdir().unwrap();
    let storage = Storage::default();
    for round in 0..4_u8 {
        let kv = Kv::reopen(dir.path(), &storage);
        let tree = kv.tree("t").unwrap();
        assert_eq!(tree.iter().count(), usize::from(round));
        let mut batch = Batch::new();
        batch.put(&[round], b"value");
        kv.commit(&tree, batch).unwrap().wait().unwrap();
        drop((tree, kv));
        // Of the newest snapshot there can be, by half or not at all.
        for name in ["snap.00000000FFFFFFFF.generating", "snap.00000000FFFFFFFE.in___motion"] {
            std::fs::write(dir.path().join(name), vec![7; 11 * usize::from(round)]).unwrap();
        }
    }
}
