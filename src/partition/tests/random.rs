//! Retention, deletions, purges, lost leaders, restarts and replaced disks in any order.
//!
//! Every batch is the producer's next, so its offset is its sequence number whatever happens in between:
//! a lost, repeated or misplaced record, or a forgotten producer, shows at once. The seed is printed;
//! `JACKDAW_SEED` and `JACKDAW_STEPS` run another one.

use super::*;
use crate::model::Timestamp;

/// Splitmix64, so that seeds mean the same for ever.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}

struct Run {
    nodes: Nodes,
    draw: Draw,
    /// The next sequence number, and offset.
    next: i32,
    /// The largest start offset that was answered.
    start: Offset,
    down: Option<usize>,
}

impl Run {
    async fn leader(&self) -> Arc<Partition> {
        Arc::clone(self.nodes.0[self.nodes.leader().await].partition())
    }

    async fn step(&mut self) {
        match self.draw.below(20) {
            0..=9 => self.produce().await,
            10..=12 => self.expire().await,
            13 => self.delete().await,
            14..=16 => self.purge().await,
            17 => self.stop().await,
            18 => self.restart(false).await,
            _ => self.restart(true).await,
        }
        let leader = self.leader().await;
        assert!(leader.log().start_offset() >= self.start, "an answered deletion is forgotten");
    }

    async fn produce(&mut self) {
        for _ in 0..=self.draw.below(12) {
            loop {
                match produce(&*self.leader().await, idempotent(self.next)).await {
                    Ok(offset) => break assert_eq!(offset, Offset(self.next.into())),
                    Err(PartitionError::Sequence(error)) => panic!("{error}"),
                    Err(_) => {}
                }
            }
            self.next += 1;
        }
    }

    async fn expire(&mut self) {
        let leader = self.leader().await;
        leader.set_retention(keep_bytes(self.draw.below(9_000)));
        if let Ok(Some(from)) = leader.expired(Timestamp(0))
            && let Ok(start) = leader.retain(from).await
        {
            self.start = self.start.max(start);
        }
    }

    async fn delete(&mut self) {
        let before = Offset(self.draw.below(self.next as u64 + 1) as i64);
        if let Ok(start) = self.leader().await.delete_records(Some(before)).await {
            assert!(start >= before);
            self.start = self.start.max(start);
        }
    }

    async fn purge(&mut self) {
        let at = self.draw.below(3) as usize;
        if let Some((_, partition)) = &self.nodes.0[at].running {
            let purged = tokio::time::timeout(Duration::from_secs(1), partition.purge()).await;
            drop(purged);
        }
    }

    async fn stop(&mut self) {
        if self.down.is_none() {
            let at = self.draw.below(3) as usize;
            self.nodes.0[at].stop().await;
            self.down = Some(at);
        }
    }

    async fn restart(&mut self, replaced: bool) {
        let Some(at) = self.down else { return };
        if replaced {
            // Only while the others hold everything.
            self.level().await;
            self.nodes.0[at].dir = tempfile::tempdir().unwrap();
            self.nodes.0[at].hard = Arc::default();
        }
        self.nodes.restart(at).await;
        self.down = None;
        if replaced {
            self.level().await;
        }
    }

    /// Waits until all that run hold everything.
    async fn level(&self) {
        self.leader().await;
        let end = Offset(self.next.into());
        for node in self.nodes.0.iter().filter(|node| node.running.is_some()) {
            let partition = node.partition();
            until("it holds everything", || partition.high_watermark() == end).await;
        }
    }

    async fn finish(mut self) {
        self.restart(false).await;
        self.produce().await;
        self.level().await;
        let leader = self.leader().await;
        let (start, end) = (leader.log().start_offset(), Offset(self.next.into()));
        for node in &self.nodes.0 {
            let partition = node.partition();
            until("the start is known", || partition.log().start_offset() == start).await;
            partition.purge().await.unwrap();
            assert!(!partition.purge_due());
        }
        let firsts = self.nodes.0.iter().map(|node| node.partition().log().first_index());
        let firsts: BTreeSet<u64> = firsts.collect();
        assert_eq!(firsts.len(), 1, "{firsts:?}");
        self.nodes.stop().await;
        let held: Vec<_> = self.nodes.0.iter().map(|node| node.records(start, end)).collect();
        assert!(held.iter().all(|other| *other == held[0]), "{held:?}");
        // A batch has one record, so none straddles the start.
        assert_eq!(held[0].0, (end.0 - start.0) as u64);
    }
}

async fn run(seed: u64, steps: u64) {
    println!("seed {seed}, {steps} steps");
    let nodes = Nodes::start(3).await;
    let start = Offset::ZERO;
    let mut run = Run { nodes, draw: Draw(seed), next: 0, start, down: None };
    for _ in 0..steps {
        run.step().await;
    }
    run.finish().await;
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_retained_is_lost_and_nothing_deleted_comes_back() {
    run(setting("JACKDAW_SEED", 1), setting("JACKDAW_STEPS", 60)).await;
}
