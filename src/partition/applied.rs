//! What a partition's applied entries amount to, kept beside its log now and then, so that a start goes
//! over the log from there on only. In memory, the state machine has it. Big-endian, in an envelope
//! "JDAP" 1:
//! ```text
//!     last term          u64   of the last applied entry
//!     last index         u64
//!     first index        u64   the first entry to keep
//!     start offset       i64   the first offset to serve
//!     producers          see `producer_codec`
//! ```
//! **Invariant:** it is a function of the log up to its last entry, which was committed: where a log
//! holds that entry, it is that log's.
//! **Invariant:** nothing but time is lost with it.

use bytes::{BufMut, Bytes};
use jackdaw_raft::LogId;

use super::envelope::Envelope;
use super::producer_codec::Input;
use super::producer_state::ProducerStates;
use crate::model::Offset;
use crate::storage::{Log, LogIdentity};

const ENVELOPE: Envelope = Envelope { magic: b"JDAP", version: 1, name: "applied state" };

/// Bytes of entries that are applied before it is kept again: so much of each log a start goes over. Few
/// where tests run, so that all that restart a partition go through it.
const EVERY_BYTES: u64 = if cfg!(test) { 1_000 } else { 4 << 20 };
/// And at least so many times its own size: many producers make it large.
const EVERY_SIZES: u64 = 16;
/// But never more, however many they are: with what is applied while the file is written, a start goes over
/// less than 64 MiB.
const EVERY_BYTES_MAX: u64 = 32 << 20;

/// A partition's state at an applied entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AppliedState {
    pub(super) last: LogId,
    pub(super) first_index: u64,
    pub(super) start_offset: Offset,
    pub(super) producers: ProducerStates,
}

impl AppliedState {
    /// What is kept beside `log`, if it is of use there.
    pub(super) fn load(log: &Log) -> Option<Self> {
        let bytes = log.read_applied()?;
        match Self::decode(&bytes, log.identity()) {
            Ok(kept) => {
                Some(kept).filter(|kept| log.term_of(kept.last.index) == Some(kept.last.term))
            }
            Err(what) => {
                tracing::info!(dir = %log.dir().display(), what, "not used: the log says all of it");
                None
            }
        }
    }

    fn decode(bytes: &[u8], identity: &LogIdentity) -> Result<Self, String> {
        ENVELOPE.open(bytes, identity, |input: &mut Input<'_>| {
            Some(Self {
                last: LogId { term: input.u64()?, index: input.u64()? },
                first_index: input.u64()?,
                start_offset: Offset(input.i64()?),
                producers: ProducerStates::decode(input)?,
            })
        })
    }
}

/// The encoding described in this file's head.
fn encode(
    last: LogId,
    (first_index, start_offset): (u64, Offset),
    producers: &ProducerStates,
    identity: &LogIdentity,
) -> Bytes {
    ENVELOPE.enclose(identity, |out| {
        out.put_u64(last.term);
        out.put_u64(last.index);
        out.put_u64(first_index);
        out.put_i64(start_offset.0);
        producers.encode(out);
    })
}

/// When to keep the state again.
#[derive(Debug)]
pub(super) struct KeepWhen {
    /// Bytes of entries that were applied since.
    bytes: u64,
    every_bytes: u64,
}

impl KeepWhen {
    /// A start went over so many bytes.
    pub(super) fn after(bytes: u64) -> Self {
        Self { bytes, every_bytes: EVERY_BYTES }
    }

    /// So many more are applied; whether it is time.
    pub(super) fn note(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        self.bytes >= self.every_bytes
    }

    /// Whether nothing was applied since.
    pub(super) fn is_up_to_date(&self) -> bool {
        self.bytes == 0
    }

    /// Keeps it beside `log`.
    pub(super) fn keep(
        &mut self,
        log: &Log,
        last: LogId,
        first_index: u64,
        producers: &ProducerStates,
    ) {
        let begin = (first_index, log.start_offset());
        let contents = encode(last, begin, producers, log.identity());
        *self = Self { bytes: 0, every_bytes: every_bytes(contents.len()) };
        log.keep_applied(contents);
    }
}

/// After how many bytes of entries a file of `size` bytes is written again.
fn every_bytes(size: usize) -> u64 {
    (EVERY_SIZES * size as u64).clamp(EVERY_BYTES, EVERY_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::record_batch::{BatchHeader, tests::opaque_batch};
    use crate::model::{PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId};

    #[test]
    fn many_producers_make_it_rarer_but_not_beyond_what_a_start_may_go_over() {
        assert_eq!(every_bytes(0), EVERY_BYTES);
        assert_eq!(every_bytes(1 << 20), 16 << 20);
        // Some 200,000 producers.
        assert_eq!(every_bytes(30 << 20), 32 << 20);
    }

    #[test]
    fn golden() {
        let identity = LogIdentity {
            cluster_id: "c".to_owned(),
            topic_id: TopicId(7),
            partition: PartitionIndex(3),
        };
        let mut producers = ProducerStates::default();
        let mut header = BatchHeader::parse(&opaque_batch(2, b"")).unwrap();
        (header.producer_id, header.producer_epoch) = (ProducerId(5), ProducerEpoch(1));
        (header.base_offset, header.max_timestamp) = (Offset(20), Timestamp(9));
        header.base_sequence = 4;
        producers.record(&header);
        let last = LogId { term: 2, index: 17 };
        let bytes = encode(last, (3, Offset(6)), &producers, &identity);
        let hex: Vec<String> = bytes
            .chunks(32)
            .map(|chunk| chunk.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        expect_test::expect![[r#"
            4a44415000000001c8985b460000000000000000000000000000000700000003
            0163000000000000000200000000000000110000000000000003000000000000
            0006000000000000000900000000000000000000000100000000000000050001
            0000000000000009010000000400000005000000000000001400000000000000
            15"#]]
        .assert_eq(&hex.join("\n"));
        let state = AppliedState { last, first_index: 3, start_offset: Offset(6), producers };
        assert_eq!(AppliedState::decode(&bytes, &identity), Ok(state));
        for at in 0..bytes.len() {
            assert!(AppliedState::decode(&bytes[..at], &identity).is_err());
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert!(AppliedState::decode(&damaged, &identity).is_err(), "byte {at}");
        }
    }
}
