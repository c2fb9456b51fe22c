//! The bytes of a metadata snapshot: the state's pairs, and when to take one.
//!
//! ```text
//! 0   version    u8      1
//! 1   pairs      u32 key length, key, u32 value length, value …
//! −4  CRC-32C    u32     of everything before
//! ```
//!
//! **Invariant:** equal states have equal snapshot bytes; a snapshot that was cut or altered is an
//! error, never part of a state.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};

use super::error::invalid;
use super::state::{Pair, State};

const VERSION: u8 = 1;
const CRC_BYTES: usize = 4;

/// Log growth, in bytes of commands, after which a snapshot is due.
pub const SNAPSHOT_GROWTH_BYTES: u64 = 16 << 20;

/// Whether the log has grown enough since the last snapshot to be worth another one.
#[must_use]
pub fn snapshot_due(grown_bytes: u64) -> bool {
    grown_bytes >= SNAPSHOT_GROWTH_BYTES
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).expect("an entity is far below 4 GiB"));
    out.put_slice(bytes);
}

/// Writes the whole state.
pub(super) fn encode_state(state: &State) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(VERSION);
    for (key, value) in state.pairs() {
        put(&mut out, &key);
        put(&mut out, &value);
    }
    let crc = crc32c::crc32c(&out);
    out.put_u32(crc);
    out.freeze()
}

fn corrupt(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a metadata snapshot with {what}"))
}

fn take<'a>(rest: &mut &'a [u8]) -> io::Result<&'a [u8]> {
    let short = || corrupt("a pair cut short");
    let (length, tail) = rest.split_first_chunk::<4>().ok_or_else(short)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (bytes, tail) = tail.split_at_checked(length).ok_or_else(short)?;
    *rest = tail;
    Ok(bytes)
}

/// Reads a state back, with its pairs.
pub(super) fn decode_state(bytes: &[u8]) -> io::Result<(State, Vec<Pair>)> {
    let (body, stored) =
        bytes.split_last_chunk::<CRC_BYTES>().ok_or_else(|| corrupt("no checksum"))?;
    if crc32c::crc32c(body) != u32::from_be_bytes(*stored) {
        return Err(corrupt("a wrong checksum"));
    }
    let (version, mut rest) = body.split_first().ok_or_else(|| corrupt("no version"))?;
    if *version != VERSION {
        return Err(corrupt("a version that this build does not know"));
    }
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let key = take(&mut rest)?.to_vec();
        pairs.push((key, take(&mut rest)?.to_vec()));
    }
    let state = State::from_pairs(pairs.iter().map(|(key, value)| (key, value)));
    Ok((state.map_err(invalid)?, pairs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::command::Command;
    use crate::model::BrokerId;

    #[test]
    fn a_state_survives_and_damage_does_not_pass() {
        let mut state = State::new();
        state.apply(Command::AllocateProducerIds { broker: BrokerId(1) });
        let _ = state.take_changes();
        let bytes = encode_state(&state);
        assert_eq!(decode_state(&bytes).unwrap().0, state);
        for at in 0..bytes.len() {
            assert!(decode_state(&bytes[..at]).is_err());
            let mut damaged = bytes.to_vec();
            damaged[at] ^= 1;
            assert!(decode_state(&damaged).is_err());
        }
    }

    #[test]
    fn a_snapshot_is_due_by_growth() {
        assert!(!snapshot_due(SNAPSHOT_GROWTH_BYTES - 1));
        assert!(snapshot_due(SNAPSHOT_GROWTH_BYTES));
    }
}
