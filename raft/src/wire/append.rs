//! A leader's entries, and the answer.
//!
//! ```text
//! request: u32 session | vote 17 B | prev: log id? | commit: log id? | u32 count
//!          | count × (u64 term, u8 kind, u32 length) | payloads, one after another
//! kind:    0 blank, 1 membership, 2 data
//! answer:  u8 0 | matched: log id?          everything up to it is on disk
//!          u8 1 | log id                    conflict at it
//!          u8 2 | vote 17 B                 a higher vote was seen
//! log id?: u8 0, or u8 1 | u64 term | u64 index
//! ```
//!
//! Indexes are not sent: they follow `prev` without a gap. The table stands before the payloads, so
//! that a message is one small buffer plus the payloads where they are.

use bytes::{BufMut, Bytes};

use super::frame::Outgoing;
use super::message::{get_vote, put_vote};
use crate::codec::{DecodeError, Decoder, put_log_id, put_log_id_option};
use crate::entry::{Data, Entry, Payload};
use crate::id::LogId;
use crate::membership::Membership;
use crate::vote::Vote;

const FIXED_LEN: usize = 4 + Vote::LEN + 17 + 17 + 4;
const TABLE_ROW_LEN: usize = 13;

const BLANK: u8 = 0;
const MEMBERSHIP: u8 = 1;
const DATA: u8 = 2;

/// Entries that follow `prev`, or none as a heartbeat.
#[derive(Debug)]
pub(crate) struct AppendMessage {
    /// Numbers the sender's streams, so that the receiver knows a restarted one.
    pub(crate) session: u32,
    pub(crate) vote: Vote,
    pub(crate) prev: Option<LogId>,
    pub(crate) commit: Option<LogId>,
    pub(crate) entries: Vec<Entry>,
}

/// How the entries were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppendAnswer {
    Matched(Option<LogId>),
    Conflict(LogId),
    HigherVote(Vote),
}

impl AppendMessage {
    /// What it says to be in the log.
    pub(crate) fn said(&self) -> impl Iterator<Item = LogId> {
        self.prev.into_iter().chain(self.entries.iter().map(|entry| entry.log_id))
    }

    /// Bytes of `count` entries' fixed parts.
    pub(crate) fn head_len(count: usize) -> usize {
        FIXED_LEN + count * TABLE_ROW_LEN
    }

    pub(crate) fn encode(self, out: &mut Outgoing) {
        out.reserve_chunks(self.entries.len());
        let head = out.body();
        head.put_u32(self.session);
        put_vote(head, self.vote);
        put_log_id_option(head, self.prev);
        put_log_id_option(head, self.commit);
        head.put_u32(u32::try_from(self.entries.len()).expect("a message holds few entries"));
        let first = self.prev.map_or(0, |prev| prev.index + 1);
        for (entry, index) in self.entries.into_iter().zip(first..) {
            assert_eq!(entry.log_id.index, index, "entries follow prev without a gap");
            let (kind, bytes) = match entry.payload {
                Payload::Blank => (BLANK, Bytes::new()),
                Payload::Membership(membership) => (MEMBERSHIP, membership.to_bytes()),
                Payload::Data(data) => (DATA, data.bytes),
            };
            let head = out.body();
            head.put_u64(entry.log_id.term);
            head.put_u8(kind);
            head.put_u32(u32::try_from(bytes.len()).expect("an entry fits a frame"));
            out.chunk(bytes);
        }
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut table = Decoder::new(body);
        let session = table.u32("append session")?;
        let vote = get_vote(&mut table, "append vote")?;
        let prev = table.log_id_option("append prev")?;
        let commit = table.log_id_option("append commit")?;
        let count = table.u32("append count")? as usize;
        let rows = count.checked_mul(TABLE_ROW_LEN).ok_or(DecodeError("append count"))?;
        let mut table_rows = Decoder::new(table.bytes(rows, "append table")?);
        let mut payloads = table;
        let mut entries = Vec::with_capacity(count);
        let first = prev.map_or(0, |prev| prev.index.saturating_add(1));
        for position in 0..count as u64 {
            let term = table_rows.u64("append entry term")?;
            let kind = table_rows.u8("append entry kind")?;
            let length = table_rows.u32("append entry length")? as usize;
            let bytes = payloads.bytes(length, "append entry payload")?;
            let index = first.checked_add(position).ok_or(DecodeError("append entry index"))?;
            entries.push(Entry { log_id: LogId { term, index }, payload: payload(kind, bytes)? });
        }
        payloads.end("append end")?;
        Ok(Self { session, vote, prev, commit, entries })
    }
}

fn payload(kind: u8, bytes: Bytes) -> Result<Payload, DecodeError> {
    match kind {
        BLANK if bytes.is_empty() => Ok(Payload::Blank),
        MEMBERSHIP => {
            let membership = Membership::from_bytes(bytes)?;
            if membership.configs.is_empty() || membership.configs.iter().any(|set| set.is_empty())
            {
                return Err(DecodeError("append membership without voters"));
            }
            Ok(Payload::Membership(membership))
        }
        DATA => Ok(Payload::Data(Data { bytes, context: None })),
        _ => Err(DecodeError("append entry kind")),
    }
}

impl AppendAnswer {
    pub(crate) fn encode(self, out: &mut Outgoing) {
        let body = out.body();
        match self {
            Self::Matched(matched) => {
                body.put_u8(0);
                put_log_id_option(body, matched);
            }
            Self::Conflict(at) => {
                body.put_u8(1);
                put_log_id(body, at);
            }
            Self::HigherVote(vote) => {
                body.put_u8(2);
                put_vote(body, vote);
            }
        }
    }

    pub(crate) fn decode(body: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(body);
        let answer = match input.u8("append answer")? {
            0 => Self::Matched(input.log_id_option("append matched")?),
            1 => Self::Conflict(input.log_id("append conflict")?),
            2 => Self::HigherVote(get_vote(&mut input, "append higher vote")?),
            _ => return Err(DecodeError("append answer")),
        };
        input.end("append answer end")?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{GroupId, NodeId};
    use crate::wire::frame::{HEADER_LEN, Kind, Role, Status};

    fn body(out: Outgoing) -> Bytes {
        let (head, chunks) = out.seal(Role::Request, Status::Ok, 0, 0);
        let mut bytes = head[HEADER_LEN..].to_vec();
        chunks.iter().for_each(|chunk| bytes.extend_from_slice(chunk));
        bytes.into()
    }

    fn encoded() -> Bytes {
        let voters = [NodeId(5)].into();
        let message = AppendMessage {
            session: 3,
            vote: Vote { term: 2, node: NodeId(5), committed: true },
            prev: Some(LogId::new(1, 6)),
            commit: None,
            entries: vec![
                Entry { log_id: LogId::new(2, 7), payload: Payload::Blank },
                Entry { log_id: LogId::new(2, 8), payload: Payload::Data(Data::new(&b"abc"[..])) },
                Entry {
                    log_id: LogId::new(2, 9),
                    payload: Payload::Membership(Membership::of_voters(voters)),
                },
            ],
        };
        let mut out = Outgoing::new(Kind::Append, GroupId::METADATA, AppendMessage::head_len(3));
        message.encode(&mut out);
        body(out)
    }

    #[test]
    fn golden() {
        #[rustfmt::skip]
        let golden: &[u8] = &[
            0, 0, 0, 3,
            0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 5, 1,
            1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6,
            0,
            0, 0, 0, 3,
            0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 3,
            0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 23,
            b'a', b'b', b'c',
            1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5,
        ];
        assert_eq!(&encoded()[..], golden);
        let back = AppendMessage::decode(Bytes::from_static(golden)).unwrap();
        assert_eq!((back.session, back.prev, back.commit), (3, Some(LogId::new(1, 6)), None));
        assert_eq!(back.entries[1].log_id, LogId::new(2, 8));
        assert!(
            matches!(&back.entries[1].payload, Payload::Data(data) if &data.bytes[..] == b"abc")
        );
    }

    #[test]
    fn every_cut_is_refused() {
        let whole = encoded();
        for len in 0..whole.len() {
            assert!(AppendMessage::decode(whole.slice(..len)).is_err(), "cut at {len}");
        }
        let mut hostile = whole.to_vec();
        hostile[39..43].copy_from_slice(&u32::MAX.to_be_bytes());
        assert!(AppendMessage::decode(hostile.into()).is_err());
    }

    #[test]
    fn golden_answers() {
        let cases: [(AppendAnswer, &[u8]); 4] = [
            (AppendAnswer::Matched(None), &[0, 0]),
            (
                AppendAnswer::Matched(Some(LogId::new(1, 2))),
                &[0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2],
            ),
            (
                AppendAnswer::Conflict(LogId::new(1, 2)),
                &[1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2],
            ),
            (
                AppendAnswer::HigherVote(Vote { term: 1, node: NodeId(2), committed: false }),
                &[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0],
            ),
        ];
        for (answer, golden) in cases {
            let mut out = Outgoing::new(Kind::Append, GroupId::METADATA, 18);
            answer.encode(&mut out);
            assert_eq!(&body(out)[..], golden);
            assert_eq!(AppendAnswer::decode(Bytes::from_static(golden)), Ok(answer));
        }
    }
}
