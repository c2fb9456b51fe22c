//! Asks every node, again and again, for the end of each partition, and writes down who answers as its
//! leader.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::ListOffsetsPartitionResponse;
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::connection::Connection;
use crate::history::{Answer, Event, Recorder};

/// One request to one node.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The first version with epochs is 4.
const LIST_OFFSETS: i16 = 7;
/// `ListOffsetsRequest.LATEST_TIMESTAMP`: the high watermark.
const LATEST: i64 = -1;

/// At work, a thread for each node, until it is finished or dropped.
#[derive(Debug)]
pub struct Witness {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Witness {
    /// Begins to ask `nodes`, given by id and address, each again after a `pause`.
    ///
    /// # Errors
    /// The system has no threads left.
    pub fn start(
        nodes: impl IntoIterator<Item = (i32, SocketAddr)>,
        topic: &str,
        partitions: i32,
        pause: Duration,
        recorder: &Arc<Recorder>,
    ) -> Result<Self> {
        let mut witness = Self { stop: Arc::default(), threads: Vec::new() };
        let request = request(topic, partitions);
        for (node, address) in nodes {
            let (stop, recorder) = (witness.stop.clone(), recorder.clone());
            let request = request.clone();
            let thread = thread::Builder::new().name(format!("witness of node {node}"));
            let thread = thread.spawn(move || {
                ask_until(&stop, (node, address), &request, pause, &recorder);
            });
            witness.threads.push(thread?);
        }
        Ok(witness)
    }

    /// Ends the work once everything is written down.
    ///
    /// # Errors
    /// A thread panicked.
    pub fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow!("a witness's thread panicked"))?;
        }
        Ok(())
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn request(topic: &str, partitions: i32) -> ListOffsetsRequest {
    let latest = |partition| {
        ListOffsetsPartition::default()
            .with_partition_index(partition)
            .with_current_leader_epoch(-1)
            .with_timestamp(LATEST)
    };
    let topic = ListOffsetsTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions((0..partitions).map(latest).collect());
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

fn ask_until(
    stop: &AtomicBool,
    (node, address): (i32, SocketAddr),
    request: &ListOffsetsRequest,
    pause: Duration,
    recorder: &Recorder,
) {
    let mut connection = None;
    let mut tenures = Tenures::new(node);
    while !stop.load(Ordering::Relaxed) {
        let asked_us = recorder.now_us();
        let answers = match ask(&mut connection, address, request) {
            Ok(answers) => answers,
            Err(_) => {
                connection = None;
                Vec::new()
            }
        };
        for over in tenures.see(asked_us, recorder.now_us(), &answers) {
            recorder.record(&Event::Answer(over));
        }
        thread::sleep(pause);
    }
    for open in tenures.close() {
        recorder.record(&Event::Answer(open));
    }
}

fn ask(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    request: &ListOffsetsRequest,
) -> Result<Vec<ListOffsetsPartitionResponse>> {
    let connection = Connection::held(connection, address, TIMEOUT)?;
    let mut response = connection.call(LIST_OFFSETS, request)?;
    Ok(response.topics.pop().context("an answer about nothing")?.partitions)
}

/// What a node answers as a leader at the moment, by partition.
struct Tenures {
    node: i32,
    open: BTreeMap<i32, Answer>,
}

impl Tenures {
    fn new(node: i32) -> Self {
        Self { node, open: BTreeMap::new() }
    }

    /// Takes a round of answers in; gives the tenures that are over.
    fn see(
        &mut self,
        asked_us: u64,
        came_us: u64,
        answers: &[ListOffsetsPartitionResponse],
    ) -> Vec<Answer> {
        let mut over = std::mem::take(&mut self.open);
        for answer in answers.iter().filter(|answer| answer.error_code == 0) {
            let now = Answer {
                node: self.node,
                partition: answer.partition_index,
                epoch: answer.leader_epoch,
                high_watermark: answer.offset,
                first_us: came_us,
                last_us: asked_us,
            };
            let before = over.remove(&now.partition);
            let tenure = match before {
                Some(before)
                    if (before.epoch, before.high_watermark) == (now.epoch, now.high_watermark) =>
                {
                    Answer { last_us: asked_us, ..before }
                }
                Some(before) => {
                    // Put back: it is over.
                    over.insert(before.partition, before);
                    now
                }
                None => now,
            };
            self.open.insert(tenure.partition, tenure);
        }
        over.into_values().collect()
    }

    fn close(self) -> impl Iterator<Item = Answer> {
        self.open.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(partition: i32, error: i16, epoch: i32, offset: i64) -> ListOffsetsPartitionResponse {
        ListOffsetsPartitionResponse::default()
            .with_partition_index(partition)
            .with_error_code(error)
            .with_leader_epoch(epoch)
            .with_offset(offset)
    }

    fn spans(answers: impl IntoIterator<Item = Answer>) -> Vec<(i32, i32, i64, u64, u64)> {
        let span = |a: Answer| (a.partition, a.epoch, a.high_watermark, a.first_us, a.last_us);
        answers.into_iter().map(span).collect()
    }

    #[test]
    fn equal_answers_are_one_tenure() {
        let mut tenures = Tenures::new(2);
        let mut see = |at_us, answers: &[_]| spans(tenures.see(at_us, at_us + 5, answers));
        assert_eq!(see(10, &[said(0, 0, 3, 7), said(1, 6, -1, -1)]), []);
        assert_eq!(see(20, &[said(0, 0, 3, 7)]), []);
        assert_eq!(see(30, &[said(0, 0, 3, 8)]), [(0, 3, 7, 15, 20)], "the high watermark moved");
        assert_eq!(see(40, &[said(0, 6, -1, -1), said(1, 0, 4, 0)]), [(0, 3, 8, 35, 30)]);
        assert_eq!(see(50, &[said(1, 0, 4, 0)]), []);
        assert_eq!(spans(tenures.close()), [(1, 4, 0, 45, 50)]);
    }
}
