//! Everything that a topic holds, read from the beginning to the high watermark.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::plain_consumer::{plain_consumer, record_poll};
use crate::history::{Event, ReadTo, Recorder};

/// One request for a partition's offsets; the loop around it has the deadline.
const WATERMARK_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(100);

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// Records over all partitions.
    pub records: u64,
    /// By partition, the high watermark up to which it was read.
    pub ends: BTreeMap<i32, i64>,
}

/// Reads `partitions` of `topic` without a group (`assign`), recording every poll.
///
/// # Errors
/// The deadline passes, or the client breaks down.
pub fn read_all(
    bootstrap: &str,
    topic: &str,
    partitions: &[i32],
    consumer: &str,
    recorder: &Recorder,
    deadline: Duration,
) -> Result<Read> {
    let begin = Instant::now();
    let client = plain_consumer(bootstrap, consumer, recorder)?;
    let mut read = Read::default();
    for partition in partitions {
        let asked_us = recorder.now_us();
        let end = end_of(&client, topic, *partition, begin, deadline)?;
        read.ends.insert(*partition, end);
        let (consumer, partition) = (consumer.to_owned(), *partition);
        recorder.record(&Event::ReadTo(ReadTo { consumer, partition, end, asked_us }));
    }
    let mut assignment = TopicPartitionList::new();
    for (partition, _) in read.ends.iter().filter(|(_, end)| **end > 0) {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    client.assign(&assignment)?;
    let mut open: BTreeMap<i32, i64> =
        read.ends.iter().filter(|(_, end)| **end > 0).map(|(p, end)| (*p, *end)).collect();
    let mut trouble = None;
    while !open.is_empty() {
        if begin.elapsed() > deadline {
            bail!("reading did not reach {open:?} within {deadline:?}; last trouble: {trouble:?}");
        }
        match client.poll(POLL) {
            None => {}
            // Lost connections heal; a missing offset does not, and the deadline ends it.
            Some(Err(error)) => trouble = Some(error.to_string()),
            Some(Ok(message)) => {
                record_poll(recorder, consumer, 0, &message);
                read.records += 1;
                let end = open.get(&message.partition()).copied();
                if end.is_some_and(|end| message.offset() + 1 >= end) {
                    open.remove(&message.partition());
                }
            }
        }
    }
    Ok(read)
}

fn end_of(
    client: &BaseConsumer,
    topic: &str,
    partition: i32,
    begin: Instant,
    deadline: Duration,
) -> Result<i64> {
    loop {
        match client.fetch_watermarks(topic, partition, WATERMARK_TIMEOUT) {
            Ok((_low, high)) => return Ok(high),
            Err(error) if begin.elapsed() > deadline => {
                return Err(error)
                    .with_context(|| format!("asking where {topic}-{partition} ends"));
            }
            // The client asks again after its own retry pause.
            Err(_) => {
                client.poll(POLL);
            }
        }
    }
}
