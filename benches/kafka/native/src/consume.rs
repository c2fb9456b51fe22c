//! A consumer that reads as fast as the broker gives.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;

use crate::target::{PATIENCE, Target};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// How many records
    #[arg(long)]
    records: u64,
    /// Joins this group, says `assigned` on standard output when it has partitions, and reads from the first record on.
    /// Without: takes all partitions from their beginning
    #[arg(long)]
    group: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Consumed {
    records: u64,
    bytes: u64,
    /// From the assignment on; of a member of a group, from its first record on.
    seconds: f64,
    mb_s: f64,
}

fn assign_all(target: &Target, consumer: &BaseConsumer) -> Result<()> {
    let mut list = TopicPartitionList::new();
    for partition in target.partitions(consumer)? {
        list.add_partition_offset(&target.topic, partition, Offset::Beginning)?;
    }
    Ok(consumer.assign(&list)?)
}

fn wait_for_partitions(consumer: &BaseConsumer) -> Result<()> {
    let begun = Instant::now();
    while consumer.assignment()?.count() == 0 {
        if let Some(message) = consumer.poll(Duration::from_millis(100)) {
            message?;
            bail!("the topic holds records already");
        }
        ensure!(begun.elapsed() < PATIENCE, "the group gave this member no partitions");
    }
    Ok(())
}

/// Reads and measures.
///
/// # Errors
/// The client reports an error, or nothing came for a minute.
pub(crate) fn run(options: &Options) -> Result<Consumed> {
    let consumer = options.target.consumer(options.group.as_deref())?;
    let mut begun = Instant::now();
    match &options.group {
        Some(_) => consumer.subscribe(&[&options.target.topic])?,
        None => {
            assign_all(&options.target, &consumer)?;
            begun = Instant::now();
        }
    }
    if options.group.is_some() {
        wait_for_partitions(&consumer)?;
        println!("assigned");
    }
    let (mut records, mut bytes) = (0, 0);
    while records < options.records {
        let message = consumer
            .poll(PATIENCE)
            .with_context(|| format!("nothing came after {records} records"))??;
        if records == 0 && options.group.is_some() {
            begun = Instant::now();
        }
        records += 1;
        bytes += message.payload_len() as u64;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Consumed { records, bytes, seconds, mb_s: bytes as f64 / 1e6 / seconds })
}
