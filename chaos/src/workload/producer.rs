//! A producer of unique values at a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};

use super::{Progress, client_config};
use crate::history::{Event, Outcome, Recorder, Send};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(1);
/// Between two calls of `flush`, which does not wait: as an application does that wants its records out. It
/// also wakes librdkafka's threads, which otherwise may sleep for a second past the time-out of a request.
const FLUSH: Duration = Duration::from_millis(100);
/// Distinct keys per partition.
const KEYS: u64 = 16;
/// What chooses a key's partition: the same as in Java's producer.
const PARTITIONER: &str = "murmur2_random";

/// Which guarantees the client asks for. Both wait for all replicas (`acks=all`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProducerKind {
    /// `enable.idempotence`: retries neither duplicate nor reorder.
    Idempotent,
    /// Without: a retry may write twice.
    Plain,
}

/// Who chooses partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routing {
    /// The producer takes them in turn, each with keys of its own.
    InTurn,
    /// The client, by the record's key.
    ByKey,
}

/// What to send.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// Brokers to ask first.
    pub bootstrap: String,
    /// Topic.
    pub topic: String,
    /// All its partitions.
    pub partitions: Vec<i32>,
    /// Who chooses one.
    pub routing: Routing,
    /// Names the producer: the second part of its values.
    pub name: String,
    /// Sends per second over all partitions.
    pub rate_per_s: u32,
    /// Guarantees.
    pub kind: ProducerKind,
    /// After so long the outcome of a send is unknown.
    pub timeout: Duration,
    /// Further settings of librdkafka.
    pub settings: Vec<(String, String)>,
}

/// A producer at work in its own thread.
#[derive(Debug)]
pub struct Producer {
    stop: Arc<AtomicBool>,
    progress: Arc<Progress>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Producer {
    /// Begins to send.
    ///
    /// # Errors
    /// The client refuses the options.
    pub fn start(options: ProducerOptions, recorder: Arc<Recorder>) -> Result<Self> {
        let idempotent = options.kind == ProducerKind::Idempotent;
        let producer = options.name.clone();
        recorder.record(&Event::Producer { producer: producer.clone(), idempotent });
        let progress = Arc::new(Progress::new(&options.partitions));
        let reports = Reports { recorder, progress: progress.clone(), producer };
        let mut config = client_config(&options.bootstrap);
        config
            .set("acks", "all")
            .set("enable.idempotence", if idempotent { "true" } else { "false" })
            .set("message.timeout.ms", options.timeout.as_millis().to_string())
            .set("partitioner", PARTITIONER)
            .set("linger.ms", "2")
            // An outage of a minute at the full rate must not fill it.
            .set("queue.buffering.max.messages", "1000000");
        for (key, value) in &options.settings {
            config.set(key, value);
        }
        let client: ThreadedProducer<Reports> =
            config.create_with_context(reports).context("making a producer")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::Builder::new()
            .name(format!("producer {}", options.name))
            .spawn(move || send_until(&stopped, &client, &options))?;
        Ok(Self { stop, progress, thread: Some(thread) })
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Stops sending and waits until the outcome of every send is recorded.
    ///
    /// # Errors
    /// The client broke down, as an idempotent producer does when its sequence cannot be continued.
    pub fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("only finish and drop take it");
        thread.join().map_err(|_| anyhow!("a producer's thread panicked"))?
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // Not joined: a run that fails must not wait for time-outs.
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn send_until(
    stop: &AtomicBool,
    client: &ThreadedProducer<Reports>,
    options: &ProducerOptions,
) -> Result<()> {
    let context = client.context();
    let begin = Instant::now();
    let mut flushed = begin;
    let mut n = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        let due = (begin.elapsed().as_secs_f64() * f64::from(options.rate_per_s)) as u64;
        while n < due && !stop.load(Ordering::Relaxed) {
            let pending = Box::new(Pending::new(n, options, &context.recorder));
            send(client, &options.topic, pending, stop)?;
            n += 1;
        }
        if flushed.elapsed() >= FLUSH {
            // An error says that something is outstanding.
            let _ = client.flush(Duration::ZERO);
            flushed = Instant::now();
        }
        thread::sleep(TICK);
    }
    // Every message has its own time-out, so this ends.
    client.flush(options.timeout + Duration::from_secs(10)).context("flushing a producer")?;
    Ok(())
}

fn send(
    client: &ThreadedProducer<Reports>,
    topic: &str,
    pending: Box<Pending>,
    stop: &AtomicBool,
) -> Result<()> {
    let (key, value) = (pending.key.clone(), pending.value.clone());
    let mut record = BaseRecord::with_opaque_to(topic, pending);
    loop {
        record = record.key(&key).payload(&value);
        if let Some(partition) = record.delivery_opaque.partition {
            record = record.partition(partition);
        }
        match client.send(record) {
            Ok(()) => return Ok(()),
            Err((error, back)) => {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                if error != full {
                    bail!("a producer broke down: {error}");
                }
                if stop.load(Ordering::Relaxed) {
                    // Never handed over, so it needs no outcome.
                    return Ok(());
                }
                record = back;
                thread::sleep(TICK);
            }
        }
    }
}

/// What is remembered of a send until its delivery report.
struct Pending {
    n: u64,
    key: String,
    value: String,
    /// None if the client chooses.
    partition: Option<i32>,
    begin_us: u64,
}

impl Pending {
    fn new(n: u64, options: &ProducerOptions, recorder: &Recorder) -> Self {
        let (count, name) = (options.partitions.len() as u64, &options.name);
        let partition = options.partitions[(n % count) as usize];
        let (partition, key) = match options.routing {
            Routing::InTurn => {
                (Some(partition), format!("{name}-{partition}-{}", n / count % KEYS))
            }
            Routing::ByKey => (None, format!("{name}-{}", n % (count * KEYS))),
        };
        let value = format!("{}-{name}-{n}", recorder.run());
        Self { n, key, value, partition, begin_us: recorder.now_us() }
    }
}

/// Turns delivery reports into lines of the history.
struct Reports {
    recorder: Arc<Recorder>,
    progress: Arc<Progress>,
    producer: String,
}

impl ClientContext for Reports {
    fn error(&self, _error: KafkaError, _reason: &str) {
        // Lost connections are what a run is about; what they lead to is in the delivery reports.
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        let end_us = self.recorder.now_us();
        let outcome = match result {
            Ok(message) => {
                self.progress.add_acknowledged(message.partition(), pending.begin_us);
                // A retry that the broker recognises is acknowledged without an offset.
                let offset = message.offset().max(-1);
                Outcome::Ok { partition: message.partition(), offset }
            }
            Err((error, _)) if is_refusal(error) => {
                self.progress.add_refused();
                Outcome::Fail { error: error.to_string() }
            }
            Err((error, _)) => {
                self.progress.add_unknown();
                Outcome::Info { error: error.to_string() }
            }
        };
        self.recorder.record(&Event::Send(Send {
            producer: self.producer.clone(),
            n: pending.n,
            value: pending.value,
            key: pending.key,
            partition: pending.partition,
            begin_us: pending.begin_us,
            end_us,
            outcome,
        }));
    }
}

/// Whether the error rules out that the record was written. All others leave it open: even an error
/// that sounds final may follow an earlier attempt whose answer was lost.
fn is_refusal(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidTopic
                | RDKafkaErrorCode::PurgeQueue
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_leaves_the_outcome_open() {
        let open = KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut);
        let refused = KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge);
        assert!(!is_refusal(&open));
        assert!(is_refusal(&refused));
    }
}
