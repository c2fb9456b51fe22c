//! Producers at `acks=all`: idempotent ones, which try again until they know, and plain ones, which ask once.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use jackdaw::model::batch_builder::BatchBuilder;
use jackdaw::model::compression::Compression;
use jackdaw::model::{Clock as _, ProducerEpoch, ProducerId, SystemClock};
use jackdaw_chaos::history::{Event, Outcome, Send};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};

use super::ledger::{Ledger, now_us};
use crate::client::{Session, Trouble};
use crate::setup::Setup;

/// For one batch of an idempotent producer.
const PATIENCE: Duration = Duration::from_secs(15);
/// What a request lets the node wait for a majority, ms.
const REQUEST_MS: i32 = 2_000;
/// The batch is in the log already.
const DUPLICATE_SEQUENCE: i16 = 46;
/// What must never be said to an idempotent producer that has one batch in flight: an acknowledged batch is
/// gone. OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, UNKNOWN_PRODUCER_ID.
const NEVER: [i16; 3] = [45, 47, 59];
/// What trying again at another node, or later, may mend.
const RETRIABLE: [i16; 11] = [3, 5, 6, 7, 9, 13, 19, 20, 56, 74, 76];
/// CORRUPT_MESSAGE and the like never come.
const RECORDS_MAX: usize = 4;

/// One batch at a time, to some of the partitions.
pub(super) struct Lane {
    name: String,
    partitions: Vec<i32>,
    is_idempotent: bool,
}

/// The lanes of a run.
pub(super) fn lanes(setup: &Setup) -> Vec<Lane> {
    let all: Vec<i32> = (0..setup.partitions).collect();
    let of = |kind: &str, parts: usize, is_idempotent: bool| -> Vec<Lane> {
        let split = all.chunks(all.len().div_ceil(parts)).enumerate();
        split
            .map(|(at, partitions)| Lane {
                name: format!("{kind}{at}"),
                partitions: partitions.to_vec(),
                is_idempotent,
            })
            .collect()
    };
    of("i", 4, true).into_iter().chain(of("j", 1, true)).chain(of("p", 2, false)).collect()
}

/// What the batches of one producer id have in common.
struct Identity {
    name: String,
    id: Option<(i64, i16)>,
    sequences: BTreeMap<i32, i32>,
    sent: u64,
}

struct Batch {
    partition: i32,
    values: Vec<String>,
    bytes: Bytes,
    first: u64,
    begin_us: u64,
}

impl Lane {
    /// Produces until the load is over.
    pub(super) async fn run(self, mut session: Session, ledger: Ledger, seed: u64) {
        let mut random = SmallRng::seed_from_u64(seed);
        for generation in 0.. {
            let Some(mut identity) = self.introduce(&mut session, &ledger, generation).await else {
                return;
            };
            loop {
                if ledger.is_load_ending() {
                    return;
                }
                let batch = self.next(&mut identity, &mut random);
                let known = self.send(&mut session, &ledger, &identity, batch).await;
                if self.is_idempotent && !known {
                    // What became of it is not known: its sequence numbers cannot be used on.
                    break;
                }
                sleep(Duration::from_millis(random.random_range(5..60))).await;
            }
        }
    }

    async fn introduce(
        &self,
        session: &mut Session,
        ledger: &Ledger,
        generation: u32,
    ) -> Option<Identity> {
        let name = format!("{}.{generation}", self.name);
        let mut id = None;
        while self.is_idempotent && id.is_none() {
            if ledger.is_load_ending() {
                return None;
            }
            match session.producer_id().await {
                Ok(given) => id = Some(given),
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
        let producer = name.clone();
        ledger.record(Event::Producer { producer, idempotent: self.is_idempotent });
        Some(Identity { name, id, sequences: BTreeMap::new(), sent: 0 })
    }

    fn next(&self, identity: &mut Identity, random: &mut SmallRng) -> Batch {
        let partition = self.partitions[random.random_range(0..self.partitions.len())];
        let count = random.random_range(1..=RECORDS_MAX);
        let first = identity.sent;
        identity.sent += count as u64;
        // Now and then a large one, so that segments fill.
        let padding = if random.random_bool(0.05) { random.random_range(0..40_000) } else { 20 };
        let padding = "x".repeat(padding);
        let values: Vec<String> =
            (first..identity.sent).map(|n| format!("{}-{n}-{padding}", identity.name)).collect();
        let mut builder = BatchBuilder::new(Compression::None);
        let key = key(identity, partition);
        for value in &values {
            let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
            builder.append(SystemClock.now(), key, value, &[]);
        }
        if let Some((id, epoch)) = identity.id {
            let sequence = identity.sequences.entry(partition).or_default();
            builder = builder.producer(ProducerId(id), ProducerEpoch(epoch), *sequence);
            *sequence += count as i32;
        }
        let bytes = builder.build().expect("nothing is compressed");
        Batch { partition, values, bytes, first, begin_us: now_us() }
    }

    /// Whether it is known what became of the batch.
    async fn send(
        &self,
        session: &mut Session,
        ledger: &Ledger,
        identity: &Identity,
        batch: Batch,
    ) -> bool {
        let due = Instant::now() + PATIENCE;
        let outcome = loop {
            let sent = session.produce(batch.partition, batch.bytes.clone(), REQUEST_MS).await;
            let trouble = match sent {
                Ok(offset) => break Ok(offset),
                Err(Trouble::Refused(DUPLICATE_SEQUENCE)) => break Ok(-1),
                Err(trouble) => trouble,
            };
            session.forget_leader(batch.partition);
            if let Trouble::Refused(code) = trouble {
                assert!(
                    !NEVER.contains(&code),
                    "{} was told {code} for partition {}: a batch that was acknowledged is gone",
                    identity.name,
                    batch.partition
                );
                if !RETRIABLE.contains(&code) {
                    ledger.note_oddity(format!("produce: error code {code}"));
                }
            }
            if !self.is_idempotent || Instant::now() >= due || ledger.is_load_ending() {
                break Err(trouble);
            }
            sleep(Duration::from_millis(50)).await;
        };
        let end_us = now_us();
        let known = outcome.is_ok();
        for (at, value) in (0..).zip(&batch.values) {
            let outcome = match &outcome {
                Ok(-1) => Outcome::Ok { partition: batch.partition, offset: -1 },
                Ok(offset) => Outcome::Ok { partition: batch.partition, offset: offset + at },
                Err(Trouble::NotSent(error)) if !self.is_idempotent => {
                    Outcome::Fail { error: error.clone() }
                }
                Err(trouble) => Outcome::Info { error: trouble.to_string() },
            };
            ledger.record(Event::Send(Send {
                producer: identity.name.clone(),
                n: batch.first + at as u64,
                value: value.clone(),
                key: key(identity, batch.partition),
                partition: Some(batch.partition),
                begin_us: batch.begin_us,
                end_us,
                outcome,
            }));
        }
        known
    }
}

fn key(identity: &Identity, partition: i32) -> String {
    format!("{}-{partition}", identity.name)
}
