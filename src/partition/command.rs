//! What a leader tells all replicas through the log, beside the records.
//!
//! A command is a `J` frame of kind command in the segments and a data entry between nodes:
//! ```text
//!  0  marker              u8    0xC0
//!  1  kind                u8    1 = retain
//!  2  version             u8    1
//!  3  reserved            u8    0
//!  4  first index         u64   the first entry to keep
//! 12  log start offset    i64   the first offset to serve
//! ```
//! The marker makes the first eight bytes negative, as no stamped batch's base offset is: that is how
//! entries that come from another node are told apart.
//!
//! **Invariant:** a command consumes no Kafka offset and names committed entries only.

use bytes::{BufMut, Bytes, BytesMut};

use crate::model::Offset;

const MARKER: u8 = 0xC0;
const RETAIN: u8 = 1;
const VERSION: u8 = 1;
const BYTES: usize = 20;

/// A replicated command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// The log begins later: by retention, or because a client deleted records.
    Retain {
        /// The first entry to keep; what is before it is purged once a whole segment is.
        first_index: u64,
        /// The first offset to serve.
        start_offset: Offset,
    },
}

/// Whether an entry's bytes, which are not a producer's own, are a command.
pub(super) fn is_command(bytes: &[u8]) -> bool {
    bytes.first() == Some(&MARKER)
}

impl Command {
    pub(super) fn encode(&self) -> Bytes {
        let Self::Retain { first_index, start_offset } = self;
        let mut out = BytesMut::with_capacity(BYTES);
        out.put_slice(&[MARKER, RETAIN, VERSION, 0]);
        out.put_u64(*first_index);
        out.put_i64(start_offset.0);
        out.freeze()
    }

    /// `Err` says what is wrong.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (head, rest) = bytes.split_first_chunk::<4>().ok_or("a command is cut short")?;
        let [MARKER, RETAIN, VERSION, _] = head else {
            return Err(format!("command {head:02x?} is not known to this version"));
        };
        let (first, rest) = rest.split_first_chunk::<8>().ok_or("a command is cut short")?;
        let start: &[u8; 8] = rest.try_into().map_err(|_| "a command of a wrong length")?;
        Ok(Self::Retain {
            first_index: u64::from_be_bytes(*first),
            start_offset: Offset(i64::from_be_bytes(*start)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_retain() {
        let command = Command::Retain { first_index: 258, start_offset: Offset(772) };
        let bytes = command.encode();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        expect_test::expect!["c001010000000000000001020000000000000304"].assert_eq(&hex);
        assert_eq!(Command::decode(&bytes), Ok(command));
        assert!(is_command(&bytes) && !is_command(&[]));
        assert!(!is_command(&i64::MAX.to_be_bytes()), "the largest base offset there is");
        assert!((0..BYTES).all(|len| Command::decode(&bytes[..len]).is_err()));
        let newer = [&[MARKER, RETAIN, VERSION + 1], &bytes[3..]].concat();
        assert!(Command::decode(&newer).unwrap_err().contains("not known"));
    }
}
