//! The small messages: votes, snapshots, leader transfer, heartbeats and announcements.
//!
//! ```text
//! vote, pre-vote: vote 17 B | last: log id? | u8 leadership transfer
//!   answer:       vote 17 B | u8 granted | last: log id?
//! snapshot:       vote 17 B | last: log id? | membership at: log id? | u32 length, membership
//!                 | u16 length, id | state
//!   answer:       vote 17 B
//! transfer:       vote 17 B | u64 to | last: log id?
//!   answer:       u8 0 accepted; u8 1 | vote 17 B the vote changed; u8 2 | log id? not yet flushed
//! beat, echo:     u64 microseconds of the asker's clock
//! announcement:   u8 full | u32 count | count × (group 20 B, u64 term, u8 leads)
//! incomplete:     as an announcement, the terms 0
//! end:            nothing
//!   answer:       u64 index of the leader's last entry
//! call:           u8 kind | body; the answer is the body alone
//! log id?:        u8 0, or u8 1 | u64 term | u64 index
//! ```

use bytes::{BufMut, Bytes, BytesMut};

use super::append::AppendMessage;
use super::frame::Outgoing;
use crate::codec::{DecodeError, Decoder, put_log_id_option};
use crate::entry::Snapshot;
use crate::id::{GroupId, LogId, NodeId};
use crate::membership::{Membership, StoredMembership};
use crate::vote::Vote;

pub(super) fn put_vote(out: &mut BytesMut, vote: Vote) {
    out.put_slice(&vote.to_bytes());
}

pub(super) fn get_vote(input: &mut Decoder, field: &'static str) -> Result<Vote, DecodeError> {
    let bytes = input.bytes(Vote::LEN, field)?;
    Vote::from_bytes(*bytes.first_chunk().ok_or(DecodeError(field))?)
}

/// A candidate's question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VoteMessage {
    pub(crate) vote: Vote,
    pub(crate) last: Option<LogId>,
    pub(crate) transfer: bool,
}

impl VoteMessage {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        put_vote(out, self.vote);
        put_log_id_option(out, self.last);
        out.put_u8(u8::from(self.transfer));
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(body);
        let vote = get_vote(&mut input, "vote")?;
        let last = input.log_id_option("vote last")?;
        let transfer = input.flag("vote transfer")?;
        input.end("vote end")?;
        Ok(Self { vote, last, transfer })
    }
}

/// A voter's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VoteAnswer {
    pub(crate) vote: Vote,
    pub(crate) granted: bool,
    pub(crate) last: Option<LogId>,
}

impl VoteAnswer {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        put_vote(out, self.vote);
        out.put_u8(u8::from(self.granted));
        put_log_id_option(out, self.last);
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(body);
        let vote = get_vote(&mut input, "vote answer")?;
        let granted = input.flag("vote granted")?;
        let last = input.log_id_option("vote answer last")?;
        input.end("vote answer end")?;
        Ok(Self { vote, granted, last })
    }
}

/// A leader's snapshot, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotMessage {
    pub(crate) vote: Vote,
    pub(crate) snapshot: Snapshot,
}

impl SnapshotMessage {
    pub(crate) fn encode(self, out: &mut Outgoing) {
        let body = out.body();
        put_vote(body, self.vote);
        put_log_id_option(body, self.snapshot.last);
        put_log_id_option(body, self.snapshot.membership.log_id);
        let membership = self.snapshot.membership.membership.to_bytes();
        body.put_u32(u32::try_from(membership.len()).expect("memberships are small"));
        body.put_slice(&membership);
        let id = self.snapshot.id.as_bytes();
        let id = &id[..id.len().min(usize::from(u16::MAX))];
        body.put_u16(id.len() as u16);
        body.put_slice(id);
        out.chunk(self.snapshot.bytes);
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(body);
        let vote = get_vote(&mut input, "snapshot vote")?;
        let last = input.log_id_option("snapshot last")?;
        let log_id = input.log_id_option("snapshot membership at")?;
        let length = input.u32("snapshot membership length")? as usize;
        let membership = Membership::from_bytes(input.bytes(length, "snapshot membership")?)?;
        let length = usize::from(input.u16("snapshot id length")?);
        let id = input.text(length, "snapshot id")?;
        let membership = StoredMembership { log_id, membership };
        Ok(Self { vote, snapshot: Snapshot { last, membership, id, bytes: input.rest() } })
    }

    pub(crate) fn encode_answer(vote: Vote, out: &mut BytesMut) {
        put_vote(out, vote);
    }

    pub(crate) fn decode_answer(body: Bytes) -> Result<Vote, DecodeError> {
        let mut input = Decoder::new(body);
        let vote = get_vote(&mut input, "snapshot answer")?;
        input.end("snapshot answer end")?;
        Ok(vote)
    }
}

/// Where the log of a leader ends that a majority has confirmed since it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndAnswer {
    pub(crate) index: u64,
}

impl EndAnswer {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u64(self.index);
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(body);
        let index = input.u64("end answer")?;
        input.end("end answer end")?;
        Ok(Self { index })
    }
}

/// A leader asks `to` to take over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TransferMessage {
    pub(crate) vote: Vote,
    pub(crate) to: NodeId,
    pub(crate) last: Option<LogId>,
}

impl TransferMessage {
    /// What it says of the leader and its log, as a heartbeat would.
    pub(crate) fn as_heartbeat(&self) -> AppendMessage {
        let Self { vote, last, .. } = *self;
        AppendMessage { session: 0, vote, prev: last, commit: None, entries: Vec::new() }
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        put_vote(out, self.vote);
        out.put_u64(self.to.0);
        put_log_id_option(out, self.last);
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(body);
        let vote = get_vote(&mut input, "transfer vote")?;
        let to = input.node("transfer to")?;
        let last = input.log_id_option("transfer last")?;
        input.end("transfer end")?;
        Ok(Self { vote, to, last })
    }
}

/// The successor's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferAnswer {
    Accepted,
    VoteChanged(Vote),
    NotFlushed(Option<LogId>),
}

impl TransferAnswer {
    pub(crate) fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Accepted => out.put_u8(0),
            Self::VoteChanged(vote) => {
                out.put_u8(1);
                put_vote(out, *vote);
            }
            Self::NotFlushed(last) => {
                out.put_u8(2);
                put_log_id_option(out, *last);
            }
        }
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(body);
        let answer = match input.u8("transfer answer")? {
            0 => Self::Accepted,
            1 => Self::VoteChanged(get_vote(&mut input, "transfer vote changed")?),
            2 => Self::NotFlushed(input.log_id_option("transfer flushed")?),
            _ => return Err(DecodeError("transfer answer")),
        };
        input.end("transfer answer end")?;
        Ok(answer)
    }
}

/// A node's heartbeat, which the peer echoes unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    /// The asker's clock, in microseconds since it started.
    pub(crate) sent_us: u64,
}

impl Beat {
    pub(crate) fn encode(self, out: &mut BytesMut) {
        out.put_u64(self.sent_us);
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(body);
        let sent_us = input.u64("beat")?;
        input.end("beat end")?;
        Ok(Self { sent_us })
    }
}

/// Groups that a node leads, or no longer leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// Whether this replaces everything that the node announced before.
    pub(crate) full: bool,
    /// Group, term, and whether the node leads it.
    pub(crate) groups: Vec<(GroupId, u64, bool)>,
}

impl Announcement {
    const ROW_LEN: usize = GroupId::LEN + 9;

    pub(crate) fn len(&self) -> usize {
        5 + self.groups.len() * Self::ROW_LEN
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(self.full));
        out.put_u32(u32::try_from(self.groups.len()).expect("a node leads fewer groups"));
        for (group, term, leads) in &self.groups {
            out.put_slice(&group.to_bytes());
            out.put_u64(*term);
            out.put_u8(u8::from(*leads));
        }
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(body);
        let full = input.flag("announcement full")?;
        let count = input.u32("announcement count")? as usize;
        if count.checked_mul(Self::ROW_LEN) != Some(input.remaining()) {
            return Err(DecodeError("announcement count"));
        }
        let mut groups = Vec::with_capacity(count);
        for _ in 0..count {
            let group = input.group("announcement group")?;
            let term = input.u64("announcement term")?;
            groups.push((group, term, input.flag("announcement leads")?));
        }
        Ok(Self { full, groups })
    }
}

#[cfg(test)]
#[path = "message_test.rs"]
mod tests;
