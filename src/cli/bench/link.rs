//! A producer's connection to one broker: keeps requests in flight, takes answers, connects again.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use kafka_wire::ProduceRequest;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::fleet::{Producer, Shared};
use super::load::{Answer, Request, Sent};
use crate::cli::client::{ClientFailure, PRODUCE_BY_NAME, Pipe, ProduceFrame};
use crate::model::{Clock as _, SystemClock};

/// Wait before a broker that could not be reached is tried again.
const CONNECT_EVERY: Duration = Duration::from_millis(50);
/// Largest answer to a Produce request.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A producer's connection to one broker, whether it stands or not.
pub(super) struct Link {
    broker: i32,
    /// There may be something to do.
    pub(super) wake: Notify,
    /// When the oldest request without an answer was sent.
    oldest: Cell<Option<Duration>>,
}

/// A request whose answer is awaited.
struct InFlight {
    correlation: i32,
    sent_at: Duration,
    batches: Vec<(i32, Sent)>,
}

impl Link {
    pub(super) fn new(broker: i32) -> Self {
        Self { broker, wake: Notify::new(), oldest: Cell::new(None) }
    }

    /// Connects.
    ///
    /// # Errors
    /// Nobody is there, or not the Kafka protocol.
    pub(super) async fn open(&self, shared: &Shared) -> Result<Pipe, ClientFailure> {
        let unknown = || ClientFailure::Unreachable {
            tried: vec![format!("node {} (not in the cluster's metadata)", self.broker)],
        };
        let address = shared.view.address(self.broker).ok_or_else(unknown)?;
        let deadline = Instant::now() + shared.request_timeout;
        Pipe::open(&address, ANSWER_BYTES_MAX, deadline).await
    }

    /// Whether the oldest request waits longer than it should.
    pub(super) fn is_overdue(&self, now: Duration, timeout: Duration) -> bool {
        self.oldest.get().is_some_and(|sent_at| now.saturating_sub(sent_at) > timeout)
    }

    /// Sends and receives until the run is over, over `pipe` first. Never ends.
    ///
    /// # Errors
    /// What no other connection mends: the other side speaks another protocol, a codec fails.
    pub(super) async fn run(
        self: Rc<Self>,
        shared: Rc<Shared>,
        producer: Rc<Producer>,
        mut pipe: Option<Pipe>,
    ) -> anyhow::Result<()> {
        loop {
            let mut in_flight = VecDeque::new();
            let opened = match pipe.take() {
                Some(pipe) => Ok(pipe),
                None => self.open(&shared).await,
            };
            let failure = match opened {
                Ok(pipe) => self.serve(&shared, &producer, pipe, &mut in_flight).await?,
                Err(failure) => failure,
            };
            if !failure.is_retriable() {
                return Err(failure.into());
            }
            self.oldest.set(None);
            let now = shared.clock.now();
            for request in in_flight {
                settle(&producer, request.batches, |_| Answer::Lost, now);
            }
            producer.load.borrow_mut().wants_metadata = true;
            producer.after_answer(&shared);
            sleep(CONNECT_EVERY).await;
            while !producer.load.borrow().has_lanes(self.broker) {
                self.wake.notified().await;
            }
        }
    }

    /// Works until the connection fails, and returns why. What is in flight then stays there.
    async fn serve(
        &self,
        shared: &Shared,
        producer: &Producer,
        mut pipe: Pipe,
        in_flight: &mut VecDeque<InFlight>,
    ) -> anyhow::Result<ClientFailure> {
        let version = match pipe.version::<ProduceRequest>(PRODUCE_BY_NAME) {
            Ok(version) => version,
            Err(failure) => return Ok(failure),
        };
        loop {
            let now = shared.clock.now();
            while in_flight.len() < shared.in_flight_max {
                let taken = producer.load.borrow_mut().take(self.broker, now, SystemClock.now())?;
                let Some(request) = taken else { break };
                let correlation = pipe.next_correlation();
                pipe.queue(frame(shared, version, correlation, &request));
                let batches = request.sent;
                in_flight.push_back(InFlight { correlation, sent_at: now, batches });
            }
            self.oldest.set(in_flight.front().map(|request| request.sent_at));
            if self.is_overdue(now, shared.request_timeout) {
                let what = format!("Produce at node {}", self.broker);
                return Ok(ClientFailure::TimedOut { what, after: shared.request_timeout });
            }
            let turn = tokio::select! {
                biased;
                turn = pipe.turn() => turn,
                () = self.wake.notified() => continue,
            };
            let now = shared.clock.now();
            match turn {
                Err(error) => return Ok(pipe.broken("Produce", error)),
                // With acks=0 what the socket took is all that is ever known.
                Ok(None) if shared.acks == 0 => {
                    for request in in_flight.drain(..) {
                        settle(producer, request.batches, |_| Answer::Code(0), now);
                    }
                }
                Ok(None) => continue,
                Ok(Some(frame)) => {
                    if let Err(failure) = answer(producer, &pipe, version, in_flight, frame, now) {
                        return Ok(failure);
                    }
                }
            }
            producer.after_answer(shared);
        }
    }
}

fn frame(shared: &Shared, version: i16, correlation: i32, request: &Request) -> Vec<Bytes> {
    let how = (shared.acks, shared.request_timeout.as_millis().min(30_000) as i32);
    let batches = request.batches.len();
    let mut frame = ProduceFrame::new(version, correlation, how, &shared.topic, batches);
    for (partition, sealed) in &request.batches {
        frame.batch(*partition, &sealed.header, sealed.records.clone());
    }
    frame.finish()
}

/// Takes the answer to the oldest request.
fn answer(
    producer: &Producer,
    pipe: &Pipe,
    version: i16,
    in_flight: &mut VecDeque<InFlight>,
    frame: Bytes,
    now: Duration,
) -> Result<(), ClientFailure> {
    let unasked = || std::io::Error::other("an answer to no request");
    let Some(request) = in_flight.front() else { return Err(pipe.broken("Produce", unasked())) };
    let response = pipe.decode::<ProduceRequest>(frame, version, request.correlation)?;
    let answers: Vec<(i32, i16)> = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses)
        .map(|partition| (partition.index, partition.error_code))
        .collect();
    let Some(request) = in_flight.pop_front() else { return Ok(()) };
    // In the order of the request, as brokers answer; else by search.
    let mut guess = 0;
    let code = |partition: i32| {
        let at = match answers.get(guess) {
            Some((index, _)) if *index == partition => Some(guess),
            _ => answers.iter().position(|(index, _)| *index == partition),
        };
        guess = at.map_or(guess, |at| at + 1);
        // An answer that leaves a partition out says nothing about it.
        at.map_or(Answer::Lost, |at| Answer::Code(answers[at].1))
    };
    settle(producer, request.batches, code, now);
    Ok(())
}

fn settle(
    producer: &Producer,
    batches: Vec<(i32, Sent)>,
    mut answer: impl FnMut(i32) -> Answer,
    now: Duration,
) {
    let mut load = producer.load.borrow_mut();
    for (partition, sent) in batches {
        load.settle(sent, answer(partition), now);
    }
}
