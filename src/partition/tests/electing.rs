//! What a leader answers between its election and its first entry.

use std::fs::File;
use std::io;
use std::sync::{Condvar, Mutex};

use futures_util::FutureExt;

use super::*;

/// Syncs wait while it is shut.
#[derive(Default)]
struct Gate {
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn set_shut(&self, shut: bool) {
        *self.shut.lock().unwrap() = shut;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let shut = self.shut.lock().unwrap();
        drop(self.opened.wait_while(shut, |shut| *shut).unwrap());
    }
}

impl Disk for Gate {
    fn sync_data(&self, file: &File) -> io::Result<()> {
        self.pass();
        SystemDisk.sync_data(file)
    }

    fn sync_volume(&self, on: &File) -> io::Result<()> {
        self.pass();
        SystemDisk.sync_volume(on)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_was_elected_takes_records_and_lets_readers_wait() {
    let gate = Arc::new(Gate::default());
    let mut nodes = Nodes((1..=3).map(Node::new).collect());
    for node in &mut nodes.0 {
        (node.disk, node.peer_dead_ms) = (Arc::clone(&gate) as Arc<dyn Disk>, 10_000);
    }
    for at in 0..3 {
        nodes.restart(at).await;
    }
    nodes.0[0].partition().group().elect().await;
    let old = nodes.leader().await;
    produce_all(nodes.0[old].partition(), 0..3).await;
    let are_applied = || nodes.0.iter().all(|node| node.partition().high_watermark() == Offset(3));
    until("all have the records", are_applied).await;

    gate.set_shut(true);
    let to = (old + 1) % 3;
    let target = nodes.0[to].id;
    nodes.0[old].partition().group().transfer_leader(target).await.unwrap();
    let leader = Arc::clone(nodes.0[to].partition());
    until("it is elected", || leader.group().role().borrow().is_leader).await;
    let refused = leader.check_leader(-1).unwrap_err();
    assert!(matches!(refused, PartitionError::NotReady), "{refused:?}");
    let batch = idempotent(3);
    let header = BatchHeader::parse(&batch).unwrap();
    let mut taken = std::pin::pin!(leader.append(batch, header, Acks::All).wait());
    assert!(taken.as_mut().now_or_never().is_none());
    let mut ready = std::pin::pin!(leader.until_ready());
    assert!(ready.as_mut().now_or_never().is_none());

    gate.set_shut(false);
    ready.await;
    until("it is ready", || leader.check_leader(-1).is_ok()).await;
    assert_eq!(taken.await.unwrap(), Offset(3));
    leader.until_ready().await;
    nodes.stop().await;
}
