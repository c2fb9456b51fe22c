//! What a client knows of a cluster: connections, and who led which partition.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jackdaw::model::records::{RecordBatch, batches};
use kafka_wire::RequestResponsePair;
use tokio::time::Instant;

use super::connection::{Connection, Trouble};
use super::requests;
use crate::names::{KAFKA_PORT, node_name};
use crate::net::SimNetwork;

/// One request to one node.
const ATTEMPT: Duration = Duration::from_millis(2_500);
/// Largest batch when decompressed.
const BATCH_BYTES_MAX: usize = 16 << 20;
const NOT_COORDINATOR: i16 = 16;

/// A record as it was read.
pub(crate) struct Found {
    pub(crate) offset: i64,
    pub(crate) value: String,
}

/// What a fetch gave for one partition.
pub(crate) struct Fetched {
    pub(crate) partition: i32,
    pub(crate) error: i16,
    pub(crate) records: Vec<Found>,
}

/// What a node said as the leader of a partition: the epoch, and the high watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) partition: i32,
    pub(crate) epoch: i32,
    pub(crate) offset: i64,
}

/// A client of one topic.
pub(crate) struct Session {
    network: SimNetwork,
    nodes: Vec<i32>,
    topic: String,
    connections: BTreeMap<i32, Connection>,
    leaders: BTreeMap<i32, i32>,
    coordinator: Option<i32>,
    /// The node that is asked next for what any can tell.
    turn: usize,
}

impl Session {
    /// A client on `network` of a cluster of `nodes`.
    pub(crate) fn new(network: SimNetwork, nodes: &[i32], topic: &str) -> Self {
        Self {
            network,
            nodes: nodes.to_vec(),
            topic: topic.to_owned(),
            connections: BTreeMap::new(),
            leaders: BTreeMap::new(),
            coordinator: None,
            turn: 0,
        }
    }

    async fn call<R: RequestResponsePair>(
        &mut self,
        node: i32,
        request: &R,
        version_max: i16,
    ) -> Result<R::Response, Trouble> {
        let due = Instant::now() + ATTEMPT;
        let mut connection = match self.connections.remove(&node) {
            Some(connection) => connection,
            None => {
                let address = format!("{}:{KAFKA_PORT}", node_name(node));
                Connection::open(&self.network, &address, due).await?
            }
        };
        let answer = connection.call(request, version_max, due).await?;
        self.connections.insert(node, connection);
        Ok(answer)
    }

    fn any(&mut self) -> i32 {
        self.turn += 1;
        self.nodes[self.turn % self.nodes.len()]
    }

    /// Makes the topic; whether it is there.
    pub(crate) async fn create_topic(
        &mut self,
        partitions: i32,
        replicas: i16,
        configs: &[(&str, String)],
    ) -> Result<(), Trouble> {
        const EXISTS: i16 = 36;
        let request = requests::create_topic(&self.topic, partitions, replicas, configs);
        let node = self.any();
        let answer = self.call(node, &request, i16::MAX).await?;
        match answer.topics.first().map_or(-1, |topic| topic.error_code) {
            0 | EXISTS => Ok(()),
            code => Err(Trouble::Refused(code)),
        }
    }

    /// Learns who leads.
    pub(crate) async fn refresh(&mut self) -> Result<(), Trouble> {
        let node = self.any();
        let request = requests::metadata(&self.topic);
        let answer = self.call(node, &request, i16::MAX).await?;
        let topic = answer.topics.first();
        match topic.map_or(-1, |topic| topic.error_code) {
            0 => {}
            code => return Err(Trouble::Refused(code)),
        }
        let partitions = topic.into_iter().flat_map(|topic| &topic.partitions);
        self.leaders = partitions
            .filter(|partition| partition.leader_id >= 0)
            .map(|partition| (partition.partition_index, partition.leader_id))
            .collect();
        Ok(())
    }

    /// Who leads `partition`, as far as is known. One who turned out not to is forgotten by
    /// [`Self::forget_leader`].
    async fn leader(&mut self, partition: i32) -> Result<i32, Trouble> {
        if !self.leaders.contains_key(&partition) {
            let refreshed = self.refresh().await;
            refreshed.map_err(|trouble| Trouble::NotSent(trouble.to_string()))?;
        }
        let known = self.leaders.get(&partition).copied();
        known.ok_or_else(|| Trouble::NotSent(format!("nobody leads {partition}")))
    }

    /// Asks anew who leads `partition`, when it matters.
    pub(crate) fn forget_leader(&mut self, partition: i32) {
        self.leaders.remove(&partition);
    }

    /// A producer's id and epoch.
    pub(crate) async fn producer_id(&mut self) -> Result<(i64, i16), Trouble> {
        let node = self.any();
        let answer = self.call(node, &requests::producer_id(), i16::MAX).await?;
        match answer.error_code {
            0 => Ok((answer.producer_id, answer.producer_epoch)),
            code => Err(Trouble::Refused(code)),
        }
    }

    /// Sends a batch at `acks=all`; its first offset.
    pub(crate) async fn produce(
        &mut self,
        partition: i32,
        batch: Bytes,
        timeout_ms: i32,
    ) -> Result<i64, Trouble> {
        let leader = self.leader(partition).await?;
        let request = requests::produce(&self.topic, partition, batch, timeout_ms);
        let answer = self.call(leader, &request, requests::PRODUCE).await?;
        let part = answer.responses.first().and_then(|topic| topic.partition_responses.first());
        let part = part.expect("an answer to what was asked");
        match part.error_code {
            0 => Ok(part.base_offset),
            code => Err(Trouble::Refused(code)),
        }
    }

    /// Reads from the leaders of `from`, (partition, offset) each, as far as they are known.
    pub(crate) async fn fetch(
        &mut self,
        from: &[(i32, i64)],
        wait_ms: i32,
    ) -> Result<Vec<Fetched>, Trouble> {
        let mut by_leader: BTreeMap<i32, Vec<(i32, i64)>> = BTreeMap::new();
        for (partition, offset) in from {
            match self.leader(*partition).await {
                Ok(leader) => by_leader.entry(leader).or_default().push((*partition, *offset)),
                Err(_) => continue,
            }
        }
        let mut all = Vec::new();
        for (leader, wanted) in by_leader {
            let request = requests::fetch(&self.topic, &wanted, wait_ms);
            let Ok(answer) = self.call(leader, &request, requests::FETCH).await else {
                wanted.iter().for_each(|(partition, _)| self.forget_leader(*partition));
                continue;
            };
            for part in answer.responses.iter().flat_map(|topic| &topic.partitions) {
                let partition = part.partition_index;
                if part.error_code != 0 {
                    self.forget_leader(partition);
                }
                let wanted = wanted.iter().find(|(index, _)| *index == partition);
                let begin = wanted.map_or(0, |(_, offset)| *offset);
                let records = part.records.clone().map(|bytes| records(&bytes, begin));
                let records = records.unwrap_or_default();
                all.push(Fetched { partition, error: part.error_code, records });
            }
        }
        Ok(all)
    }

    /// Where `partitions` end, for `node`: only those that it leads.
    pub(crate) async fn ends(
        &mut self,
        node: i32,
        partitions: &[i32],
    ) -> Result<Vec<End>, Trouble> {
        let request = requests::ends(&self.topic, partitions);
        let answer = self.call(node, &request, i16::MAX).await?;
        let parts = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let led = parts.filter(|part| part.error_code == 0);
        Ok(led
            .map(|part| End {
                partition: part.partition_index,
                epoch: part.leader_epoch,
                offset: part.offset,
            })
            .collect())
    }

    async fn coordinator(&mut self, group: &str) -> Result<i32, Trouble> {
        if let Some(known) = self.coordinator {
            return Ok(known);
        }
        let node = self.any();
        let answer = self.call(node, &requests::coordinator(group), i16::MAX).await?;
        let found = answer.coordinators.first().expect("an answer to what was asked");
        match found.error_code {
            0 => {
                self.coordinator = Some(found.node_id);
                Ok(found.node_id)
            }
            code => Err(Trouble::Refused(code)),
        }
    }

    /// Commits `offsets` of `group`, which has no members.
    pub(crate) async fn commit(
        &mut self,
        group: &str,
        offsets: &[(i32, i64)],
    ) -> Result<(), Trouble> {
        let node = self.coordinator(group).await?;
        let request = requests::commit(group, &self.topic, offsets);
        let answer = self.call(node, &request, requests::OFFSETS).await;
        let answer = answer.inspect_err(|_| self.coordinator = None)?;
        let parts = answer.topics.iter().flat_map(|topic| &topic.partitions);
        match parts.map(|part| part.error_code).find(|code| *code != 0) {
            None => Ok(()),
            Some(code) => {
                self.coordinator = None;
                Err(Trouble::Refused(code))
            }
        }
    }

    /// The committed offsets of `group`, −1 where there is none.
    pub(crate) async fn committed(
        &mut self,
        group: &str,
        partitions: &[i32],
    ) -> Result<Vec<(i32, i64)>, Trouble> {
        let node = self.coordinator(group).await?;
        let request = requests::committed(group, &self.topic, partitions);
        let answer = self.call(node, &request, requests::OFFSETS).await;
        let answer = answer.inspect_err(|_| self.coordinator = None)?;
        let found = answer.groups.first().expect("an answer to what was asked");
        if found.error_code != 0 {
            self.coordinator = None;
            return Err(Trouble::Refused(found.error_code));
        }
        let parts = || found.topics.iter().flat_map(|topic| &topic.partitions);
        if parts().any(|part| part.error_code != 0) {
            self.coordinator = None;
            return Err(Trouble::Refused(NOT_COORDINATOR));
        }
        Ok(parts().map(|part| (part.partition_index, part.committed_offset)).collect())
    }
}

/// The records of a fetch from `begin` on; a batch is sent whole, and may start before.
fn records(bytes: &Bytes, begin: i64) -> Vec<Found> {
    let mut found = Vec::new();
    for batch in batches(bytes.clone()) {
        // The last one may be cut off by the limit of the answer.
        let Ok(batch) = batch else { break };
        let batch = RecordBatch::decode(&batch, BATCH_BYTES_MAX);
        let batch = batch.unwrap_or_else(|error| panic!("a fetched batch is damaged: {error}"));
        for record in batch.iter() {
            let record = record.unwrap_or_else(|error| panic!("a fetched record: {error}"));
            if record.offset.0 >= begin {
                let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                found.push(Found { offset: record.offset.0, value: value.into_owned() });
            }
        }
    }
    found
}
