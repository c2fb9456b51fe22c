//! Records at a fixed rate: how long each takes to be acknowledged, and to arrive.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;

use crate::latencies::{Clock, Latencies, Percentiles};
use crate::produce::{POLL, Reports, send, value};
use crate::target::{PATIENCE, Target};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Records per second
    #[arg(long)]
    rate: u32,
    /// For so long is measured
    #[arg(long, default_value_t = 10)]
    seconds: u32,
    /// For so long is written before that
    #[arg(long, default_value_t = 2)]
    warmup_seconds: u32,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024)]
    size: usize,
}

/// Times count from the moment at which a record was due, not from that at which the client got to send it.
#[derive(Serialize)]
pub(crate) struct Times {
    records: u64,
    produce_ms: Option<Percentiles>,
    e2e_ms: Option<Percentiles>,
}

/// Reads from the partitions' present ends on: exactly what is written from now.
fn assign_ends(target: &Target, consumer: &BaseConsumer) -> Result<()> {
    let mut list = TopicPartitionList::new();
    for partition in target.partitions(consumer)? {
        let (_, end) = consumer.fetch_watermarks(&target.topic, partition, PATIENCE)?;
        list.add_partition_offset(&target.topic, partition, Offset::Offset(end))?;
    }
    Ok(consumer.assign(&list)?)
}

fn read(consumer: &BaseConsumer, clock: Clock, since: Duration, records: u64) -> Result<Latencies> {
    let mut found = Latencies::default();
    for number in 0..records {
        let message = consumer
            .poll(PATIENCE)
            .with_context(|| format!("{number} of {records} records arrived"))??;
        let (due, took) = clock.read(message.payload()).context("a record of someone else's")?;
        if due >= since {
            found.add(took);
        }
    }
    Ok(found)
}

/// Sends each record when it is due, while another thread takes the acknowledgements as they come.
fn write(
    options: &Options,
    producer: &BaseProducer<Reports>,
    clock: Clock,
    begin: Duration,
    records: u64,
) -> Result<Latencies> {
    let mut value = value(options.size);
    for number in 0..records {
        let due = begin + Duration::from_nanos(number * 1_000_000_000 / u64::from(options.rate));
        thread::sleep(due.saturating_sub(clock.elapsed()));
        Clock::stamp(&mut value, due);
        send(producer, &options.target.topic, None, &value)?;
    }
    producer.flush(PATIENCE).context("waiting for the last acknowledgements")?;
    producer.context().end(records)
}

/// Writes, reads and measures.
///
/// # Errors
/// A client cannot be made, a record was not acknowledged, or one did not arrive.
pub(crate) fn run(options: &Options) -> Result<Times> {
    ensure!(options.rate > 0, "a rate of 0 records is none");
    let clock = Clock::start();
    let consumer = options.target.consumer(None)?;
    assign_ends(&options.target, &consumer)?;
    let begin = clock.elapsed() + Duration::from_secs(1);
    let since = begin + Duration::from_secs(options.warmup_seconds.into());
    let records = u64::from(options.rate) * u64::from(options.seconds + options.warmup_seconds);
    let producer: BaseProducer<Reports> = options
        .target
        .config()
        .create_with_context(Reports::new(clock, since))
        .context("making a producer")?;
    let is_done = AtomicBool::new(false);
    let (produced, arrived) = thread::scope(|scope| {
        let reader = scope.spawn(|| read(&consumer, clock, since, records));
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                producer.poll(POLL);
            }
        });
        let produced = write(options, &producer, clock, begin, records);
        is_done.store(true, Ordering::Relaxed);
        (produced, reader.join().expect("no panic"))
    });
    Ok(Times { records, produce_ms: produced?.percentiles(), e2e_ms: arrived?.percentiles() })
}
