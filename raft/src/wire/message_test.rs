//! Golden bytes of the small messages.

use super::*;
use crate::wire::frame::{HEADER_LEN, Kind, Role, Status};

const VOTE: Vote = Vote { term: 3, node: NodeId(1), committed: false };
const VOTE_BYTES: [u8; 17] = [0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0];
const LAST: Option<LogId> = Some(LogId { term: 2, index: 9 });
const LAST_BYTES: [u8; 17] = [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9];

fn check<T: PartialEq + std::fmt::Debug>(
    value: T,
    encode: impl Fn(&T, &mut BytesMut),
    decode: impl Fn(Bytes) -> Result<T, DecodeError>,
    golden: &[u8],
) {
    let mut out = BytesMut::new();
    encode(&value, &mut out);
    assert_eq!(&out[..], golden);
    for len in 0..golden.len() {
        assert!(decode(Bytes::copy_from_slice(&golden[..len])).is_err(), "cut at {len}");
    }
    let long = [golden, &[0]].concat();
    assert!(decode(long.into()).is_err(), "one byte too many");
    assert_eq!(decode(Bytes::copy_from_slice(golden)), Ok(value));
}

#[test]
fn votes() {
    check(
        VoteMessage { vote: VOTE, last: LAST, transfer: true },
        VoteMessage::encode,
        VoteMessage::decode,
        &[&VOTE_BYTES[..], &LAST_BYTES, &[1]].concat(),
    );
    check(
        VoteAnswer { vote: VOTE, granted: true, last: None },
        VoteAnswer::encode,
        VoteAnswer::decode,
        &[&VOTE_BYTES[..], &[1, 0]].concat(),
    );
}

#[test]
fn ends() {
    let golden = [0, 0, 0, 0, 0, 0, 1, 2];
    check(EndAnswer { index: 258 }, EndAnswer::encode, EndAnswer::decode, &golden);
}

#[test]
fn transfers() {
    check(
        TransferMessage { vote: VOTE, to: NodeId(4), last: LAST },
        TransferMessage::encode,
        TransferMessage::decode,
        &[&VOTE_BYTES[..], &[0, 0, 0, 0, 0, 0, 0, 4], &LAST_BYTES].concat(),
    );
    let (encode, decode) = (TransferAnswer::encode, TransferAnswer::decode);
    check(TransferAnswer::Accepted, encode, decode, &[0]);
    let changed = [&[1][..], &VOTE_BYTES].concat();
    check(TransferAnswer::VoteChanged(VOTE), encode, decode, &changed);
    let flushed = [&[2][..], &LAST_BYTES].concat();
    check(TransferAnswer::NotFlushed(LAST), encode, decode, &flushed);
}

#[test]
fn beats_and_announcements() {
    check(
        Beat { sent_us: 258 },
        |beat, out| beat.encode(out),
        Beat::decode,
        &[0, 0, 0, 0, 0, 0, 1, 2],
    );
    let group = GroupId { topic: 1, partition: 2 };
    let mut golden = vec![1, 0, 0, 0, 1];
    golden.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2]);
    golden.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 7, 1]);
    let announcement = Announcement { full: true, groups: vec![(group, 7, true)] };
    assert_eq!(announcement.len(), golden.len());
    check(announcement, Announcement::encode, Announcement::decode, &golden);
    let hostile: &[u8] = &[0, 255, 255, 255, 255];
    assert!(Announcement::decode(Bytes::from_static(hostile)).is_err());
}

#[test]
fn snapshots() {
    let membership = Membership::of_voters([NodeId(1)].into());
    let snapshot = Snapshot {
        last: LAST,
        membership: StoredMembership { log_id: None, membership: membership.clone() },
        id: "s".to_owned(),
        bytes: Bytes::from_static(b"state"),
    };
    let message = SnapshotMessage { vote: VOTE, snapshot };
    let mut out = Outgoing::new(Kind::Snapshot, GroupId::METADATA, 0);
    message.clone().encode(&mut out);
    let (head, chunks) = out.seal(Role::Request, Status::Ok, 0, 0);
    let bytes = [&head[HEADER_LEN..], &chunks[0]].concat();
    let parts: [&[u8]; 6] = [
        &VOTE_BYTES,
        &LAST_BYTES,
        &[0, 0, 0, 0, 23],
        &membership.to_bytes(),
        &[0, 1, b's'],
        b"state",
    ];
    assert_eq!(bytes, parts.concat());
    assert_eq!(SnapshotMessage::decode(bytes.into()), Ok(message));
    check(
        VOTE,
        |v, out| SnapshotMessage::encode_answer(*v, out),
        SnapshotMessage::decode_answer,
        &VOTE_BYTES,
    );
}
