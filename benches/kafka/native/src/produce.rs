//! Producers that write as fast as the broker acknowledges.

use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use serde::Serialize;

use crate::latencies::{Clock, Latencies, Percentiles, STAMP_BYTES};
use crate::requests::shares;
use crate::target::{PATIENCE, Target};

/// How long a producer waits for acknowledgements at a time.
pub(crate) const POLL: Duration = Duration::from_millis(100);

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// How many records, by all producers together
    #[arg(long)]
    records: u64,
    /// Bytes of a record's value
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Producers, each a client and a thread; several have a partition each
    #[arg(long, default_value_t = 1)]
    producers: usize,
    /// Records that a producer has under way at a time; 0: as many as its queue holds
    #[arg(long, default_value_t = 0)]
    in_flight: u64,
}

#[derive(Serialize)]
pub(crate) struct Produced {
    records: u64,
    seconds: f64,
    records_s: f64,
    mb_s: f64,
    latency_ms: Option<Percentiles>,
}

/// What came back, of one producer.
pub(crate) struct Reports {
    clock: Clock,
    /// Records that were due earlier are not counted.
    since: Duration,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    answered: u64,
    failed: Option<KafkaError>,
    latencies: Latencies,
}

impl Reports {
    pub(crate) fn new(clock: Clock, since: Duration) -> Self {
        Self { clock, since, found: Mutex::default() }
    }

    fn answered(&self) -> u64 {
        self.locked().answered
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The times to the acknowledgement.
    ///
    /// # Errors
    /// A record was not acknowledged, or not answered at all.
    pub(crate) fn end(&self, sent: u64) -> Result<Latencies> {
        let found = std::mem::take(&mut *self.locked());
        if let Some(error) = found.failed {
            return Err(error).context("a record was not acknowledged");
        }
        ensure!(found.answered == sent, "{} of {sent} records were answered", found.answered);
        Ok(found.latencies)
    }
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut found = self.locked();
        found.answered += 1;
        match result {
            Ok(message) => {
                if let Some((due, took)) = self.clock.read(message.payload())
                    && due >= self.since
                {
                    found.latencies.add(took);
                }
            }
            Err((error, _)) => found.failed = Some(error.clone()),
        }
    }
}

/// Letters in no order, as a stand-in for what people send.
pub(crate) fn value(size: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut letter = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + u8::try_from((state >> 16) % 26).unwrap_or_default()
    };
    (0..size.max(STAMP_BYTES)).map(|_| letter()).collect()
}

/// Hands a record over; waits for acknowledgements while the client's queue is full.
///
/// # Errors
/// The client refuses it.
pub(crate) fn send(
    producer: &BaseProducer<Reports>,
    topic: &str,
    partition: Option<i32>,
    value: &[u8],
) -> Result<()> {
    loop {
        let mut record = BaseRecord::<(), [u8]>::to(topic).payload(value);
        record.partition = partition;
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(POLL)
            }
            Err((error, _)) => return Err(error).context("sending"),
        }
    }
}

/// Writes `records`; returns when all are acknowledged.
fn write(
    options: &Options,
    producer: &BaseProducer<Reports>,
    partition: Option<i32>,
    records: u64,
) -> Result<Latencies> {
    let (reports, in_flight) = (producer.context(), options.in_flight);
    let mut value = value(options.size);
    for sent in 0..records {
        while in_flight > 0 && sent - reports.answered() >= in_flight {
            producer.poll(POLL);
        }
        Clock::stamp(&mut value, reports.clock.elapsed());
        send(producer, &options.target.topic, partition, &value)?;
        // Now and then is enough where nothing waits for it: acknowledgements come by the thousand.
        if in_flight == 0 && sent % 64 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(PATIENCE).context("waiting for the last acknowledgements")?;
    reports.end(records)
}

/// Writes and measures.
///
/// # Errors
/// A client cannot be made, or a record was not acknowledged.
pub(crate) fn run(options: &Options) -> Result<Produced> {
    let producers = options.producers.max(1);
    let partitions = options.target.partitions(&options.target.consumer(None)?)?;
    let partition = |number: usize| (producers > 1).then(|| partitions[number % partitions.len()]);
    let clock = Clock::start();
    let made = |_| -> Result<BaseProducer<Reports>> {
        let producer: BaseProducer<Reports> =
            options.target.config().create_with_context(Reports::new(clock, Duration::ZERO))?;
        // Connects before the clock counts.
        producer.client().fetch_metadata(Some(&options.target.topic), PATIENCE)?;
        Ok(producer)
    };
    let clients =
        (0..producers).map(made).collect::<Result<Vec<_>>>().context("making a producer")?;
    let begun = clock.elapsed();
    let found = thread::scope(|scope| {
        let started: Vec<_> = clients
            .iter()
            .zip(shares(options.records, producers))
            .enumerate()
            .map(|(number, (client, share))| {
                scope.spawn(move || write(options, client, partition(number), share))
            })
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    let seconds = (clock.elapsed() - begun).as_secs_f64();
    let records_s = options.records as f64 / seconds;
    let latencies = found.into_iter().fold(Latencies::default(), Latencies::and);
    Ok(Produced {
        records: options.records,
        seconds,
        records_s,
        mb_s: records_s * options.size as f64 / 1e6,
        latency_ms: latencies.percentiles(),
    })
}
