//! What a partition's purged entries amounted to: its Raft snapshot, in a file and between nodes.
//!
//! It stands at the retained start, never at the last applied entry, so that a replica that begins
//! with it receives every retained record through the log. Big-endian, in an envelope "JDSN" 1:
//! ```text
//!     last term          u64   of the last entry that it stands for
//!     last index         u64
//!     start offset       i64   of the first record behind that entry
//!     membership         u64 term, u64 index (2^64−1: none), u32 length, then its bytes
//!     producers          see `producer_codec`
//! ```
//! **Invariant:** it is a function of the log up to its last entry: all replicas have the same one.
//! **Invariant:** it is on disk before the entries that it stands for are purged.

use bytes::{BufMut, Bytes};
use jackdaw_raft::{LogId, Membership, Snapshot, StoredMembership};

use super::envelope::Envelope;
use super::producer_codec::Input;
use super::producer_state::ProducerStates;
use crate::model::Offset;
use crate::storage::LogIdentity;

const ENVELOPE: Envelope = Envelope { magic: b"JDSN", version: 1, name: "snapshot" };
const NO_INDEX: u64 = u64::MAX;

/// A partition's state at its retained start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartitionSnapshot {
    /// The last entry that it stands for.
    pub(super) last: LogId,
    /// The offset that the first record behind it has.
    pub(super) start_offset: Offset,
    pub(super) membership: StoredMembership,
    pub(super) producers: ProducerStates,
}

impl PartitionSnapshot {
    /// The first entry that it does not stand for.
    pub(super) fn next_index(&self) -> u64 {
        self.last.index + 1
    }

    /// The encoding described in this file's head.
    pub(super) fn encode(&self, identity: &LogIdentity) -> Bytes {
        ENVELOPE.enclose(identity, |out| {
            out.put_u64(self.last.term);
            out.put_u64(self.last.index);
            out.put_i64(self.start_offset.0);
            let stored = self.membership.log_id.unwrap_or(LogId { term: 0, index: NO_INDEX });
            out.put_u64(stored.term);
            out.put_u64(stored.index);
            let membership = self.membership.membership.to_bytes();
            out.put_u32(u32::try_from(membership.len()).expect("a membership is small"));
            out.put_slice(&membership);
            self.producers.encode(out);
        })
    }

    /// Reads a snapshot of the partition `identity`; `Err` says what is wrong.
    pub(super) fn decode(bytes: &[u8], identity: &LogIdentity) -> Result<Self, String> {
        ENVELOPE.open(bytes, identity, decode_state)
    }

    /// As the consensus takes it.
    pub(super) fn to_raft(&self, identity: &LogIdentity) -> Snapshot {
        Snapshot {
            last: Some(self.last),
            membership: self.membership.clone(),
            id: self.last.to_string(),
            bytes: self.encode(identity),
        }
    }
}

fn decode_state(input: &mut Input<'_>) -> Option<PartitionSnapshot> {
    let last = LogId { term: input.u64()?, index: input.u64()? };
    let start_offset = Offset(input.i64()?);
    let stored = LogId { term: input.u64()?, index: input.u64()? };
    let length = input.u32()? as usize;
    let membership = Bytes::copy_from_slice(input.slice(length)?);
    Some(PartitionSnapshot {
        last,
        start_offset,
        membership: StoredMembership {
            log_id: (stored.index != NO_INDEX).then_some(stored),
            membership: Membership::from_bytes(membership).ok()?,
        },
        producers: ProducerStates::decode(input)?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jackdaw_raft::NodeId;

    use super::*;
    use crate::model::record_batch::{BatchHeader, tests::opaque_batch};
    use crate::model::{PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId};

    fn identity() -> LogIdentity {
        let (topic_id, partition) = (TopicId(7), PartitionIndex(3));
        LogIdentity { cluster_id: "c".to_owned(), topic_id, partition }
    }

    fn snapshot() -> PartitionSnapshot {
        let mut producers = ProducerStates::default();
        let mut header = BatchHeader::parse(&opaque_batch(2, b"")).unwrap();
        header.producer_epoch = ProducerEpoch(1);
        header.max_timestamp = Timestamp(9);
        for (id, sequence) in [(5, 0), (5, 2), (4, 6)] {
            (header.producer_id, header.base_sequence) = (ProducerId(id), sequence);
            header.base_offset = Offset(20 + i64::from(sequence));
            producers.record(&header);
        }
        let voters: BTreeSet<_> = [NodeId(1)].into();
        PartitionSnapshot {
            last: LogId { term: 2, index: 17 },
            start_offset: Offset(30),
            membership: StoredMembership {
                log_id: Some(LogId { term: 0, index: 0 }),
                membership: Membership::of_voters(voters),
            },
            producers,
        }
    }

    #[test]
    fn golden() {
        let bytes = snapshot().encode(&identity());
        let hex: Vec<String> = bytes
            .chunks(32)
            .map(|chunk| chunk.iter().map(|byte| format!("{byte:02x}")).collect())
            .collect();
        expect_test::expect![[r#"
            4a44534e000000019941abbe0000000000000000000000000000000700000003
            016300000000000000020000000000000011000000000000001e000000000000
            0000000000000000000000000017010001000100000000000000010001000000
            0000000001000000000000000900000000000000000000000200000000000000
            0400010000000000000009010000000600000007000000000000001a00000000
            0000001b00000000000000050001000000000000000902000000000000000100
            0000000000001400000000000000150000000200000003000000000000001600
            00000000000017"#]]
        .assert_eq(&hex.join("\n"));
        assert_eq!(PartitionSnapshot::decode(&bytes, &identity()), Ok(snapshot()));
    }

    #[test]
    fn damage_and_foreign_snapshots_are_refused() {
        let bytes = snapshot().encode(&identity());
        for at in 0..bytes.len() {
            assert!(PartitionSnapshot::decode(&bytes[..at], &identity()).is_err());
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert!(PartitionSnapshot::decode(&damaged, &identity()).is_err(), "byte {at}");
        }
        let other = LogIdentity { topic_id: TopicId(8), ..identity() };
        assert!(PartitionSnapshot::decode(&bytes, &other).unwrap_err().contains("is of"));
    }
}
