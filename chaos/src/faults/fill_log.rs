//! Every node's disk fills up with records, then with something else down to a small part of the reserve,
//! and retention alone makes room again.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use super::{Fault, LEADERS_DEADLINE};
use crate::cluster::{Cluster, NodeId};
use crate::workload::{client_config, create_topic_with, delete_topic};

/// Space left before the records come: more than they take to go below the reserve (a twentieth).
const LEFT_SHARE: u64 = 6;
/// Space left then: less than the quarter of the reserve from which no replica takes records.
const LEFT_SHARE_THEN: u64 = 400;
/// How long the records are kept: longer than it takes to write them.
const KEPT_MS: &str = "15000";
const RECORD_BYTES: usize = 256 << 10;
const RECORDS_AT_ONCE: usize = 32;
/// What a node's metrics say of a full disk, and of one with room.
const FULL: &str = "jackdaw_disk_full 1";
const ROOM: &str = "jackdaw_disk_full 0";
/// Until every node says that its disk is full.
const FULL_DEADLINE: Duration = Duration::from_secs(30);
/// Until retention has made room.
const ROOM_DEADLINE: Duration = Duration::from_secs(60);

/// See the file's head. The cluster's nodes need volumes of their own, and have to look for expired
/// records often.
#[derive(Debug, Default)]
pub struct FillLog {
    round: usize,
}

impl FillLog {
    fn topic(&self) -> String {
        format!("ballast-{}", self.round)
    }
}

impl Fault for FillLog {
    fn name(&self) -> &'static str {
        "fill-log"
    }

    fn majority_survives(&self) -> bool {
        false
    }

    fn begin(&mut self, cluster: &mut Cluster) -> Result<Vec<NodeId>> {
        self.round += 1;
        let ids: Vec<NodeId> = cluster.nodes().iter().map(|node| node.id).collect();
        let configs = [("retention.ms", KEPT_MS), ("segment.bytes", "4194304")];
        create_topic_with(&cluster.bootstrap(), &self.topic(), 1, ids.len() as i32, &configs)?;
        cluster.wait_led(&self.topic(), LEADERS_DEADLINE)?;
        for id in &ids {
            cluster.node(*id).fill_volume(LEFT_SHARE)?;
        }
        write_until_full(cluster, &self.topic())?;
        for id in &ids {
            cluster.node(*id).fill_volume(LEFT_SHARE_THEN)?;
        }
        Ok(ids)
    }

    fn heal(&mut self, cluster: &mut Cluster) -> Result<()> {
        // Nothing is done here: the records come of age.
        for node in cluster.nodes() {
            node.wait_metric(ROOM, ROOM_DEADLINE)?;
        }
        for node in cluster.nodes() {
            node.empty_volume()?;
        }
        delete_topic(&cluster.bootstrap(), &self.topic())?;
        Ok(())
    }
}

/// Writes records until every node says that its disk is full.
fn write_until_full(cluster: &Cluster, topic: &str) -> Result<()> {
    let producer: ThreadedProducer<DefaultProducerContext> =
        client_config(&cluster.bootstrap()).set("message.timeout.ms", "3000").create()?;
    let payload = vec![b'b'; RECORD_BYTES];
    let begin = Instant::now();
    while !cluster.nodes().iter().all(|node| node.has_metric(FULL)) {
        if begin.elapsed() > FULL_DEADLINE {
            bail!("the disks are not full after {FULL_DEADLINE:?} of records");
        }
        for _ in 0..RECORDS_AT_ONCE {
            let record = BaseRecord::<(), Vec<u8>>::to(topic).partition(0).payload(&payload);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        // Delivered or given up: those that a full disk refuses are not missed.
        producer.flush(FULL_DEADLINE)?;
    }
    Ok(())
}
