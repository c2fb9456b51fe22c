//! What a segment consists of, one after the other: Kafka batches and `J` frames.
//!
//! ```text
//!  0  next offset   i64   the offset that the next batch gets (a batch: its own base offset)
//!  8  length        i32   bytes after this field
//! 12  term          i32   (a batch: partition leader epoch)
//! 16  magic         u8    'J' (a batch: 2)
//! ---- so far the same in both, so that one walker reads them ----
//! 17  crc           u32   CRC-32C of the whole frame but this field
//! 21  kind          u8    0 segment head, 1 blank, 2 membership, 3 command, 4 void
//! 22  version       u8    1
//! 23  reserved      u8    0
//! 24  index         u64   the entry's Raft index (a head: first index of the segment)
//! 32  body          …
//! ```
//! Integers are big-endian, as in Kafka's batches.
//!
//! **Invariant:** a `J` frame consumes no Kafka offset.

use crate::model::Offset;
use crate::model::record_batch::{self, BatchHeader, HEADER_BYTES, MAGIC_AT};

/// Bytes that a batch and a frame share.
pub(super) const PREFIX_BYTES: usize = 17;
/// Bytes of a `J` frame before its body.
pub(super) const FRAME_HEADER_BYTES: usize = 32;
/// Marks a `J` frame.
pub(super) const FRAME_MAGIC: u8 = b'J';
/// Enough bytes to read either header.
pub(super) const ITEM_HEADER_BYTES: usize = HEADER_BYTES;

const VERSION: u8 = 1;
const CRC_AT: usize = 17;
const CRC_END: usize = 21;

/// What a `J` frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameKind {
    Head = 0,
    Blank = 1,
    Membership = 2,
    Command = 3,
    Void = 4,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Head,
            1 => Self::Blank,
            2 => Self::Membership,
            3 => Self::Command,
            4 => Self::Void,
            _ => return None,
        })
    }
}

/// The fixed fields of a `J` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub(super) kind: FrameKind,
    pub(super) next_offset: Offset,
    /// −1 in the head of a segment before which there was no entry.
    pub(super) term: i32,
    pub(super) index: u64,
    pub(super) size: usize,
    pub(super) crc: u32,
}

impl FrameHeader {
    /// The first 32 bytes of a frame with `body`.
    pub(super) fn encode(
        kind: FrameKind,
        next_offset: Offset,
        term: i32,
        index: u64,
        body: &[u8],
    ) -> [u8; FRAME_HEADER_BYTES] {
        let mut head = [0; FRAME_HEADER_BYTES];
        let length = (FRAME_HEADER_BYTES - record_batch::LENGTH_PREFIX_BYTES + body.len()) as i32;
        head[..8].copy_from_slice(&next_offset.0.to_be_bytes());
        head[8..12].copy_from_slice(&length.to_be_bytes());
        head[12..16].copy_from_slice(&term.to_be_bytes());
        head[MAGIC_AT] = FRAME_MAGIC;
        head[21] = kind as u8;
        head[22] = VERSION;
        head[24..32].copy_from_slice(&index.to_be_bytes());
        let crc = crc32c::crc32c_append(frame_crc_of_header(&head), body);
        head[CRC_AT..CRC_END].copy_from_slice(&crc.to_be_bytes());
        head
    }
}

fn frame_crc_of_header(header: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&header[..CRC_AT]);
    crc32c::crc32c_append(crc, &header[CRC_END..FRAME_HEADER_BYTES])
}

/// One thing in a segment, as its header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Batch(BatchHeader),
    Frame(FrameHeader),
}

impl Item {
    /// Reads the header at the start of `bytes`, which hold [`ITEM_HEADER_BYTES`] or all that the
    /// file has. `Err` says what is wrong.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < PREFIX_BYTES {
            return Err(format!("only {} bytes are left", bytes.len()));
        }
        match bytes[MAGIC_AT] {
            FRAME_MAGIC => Self::parse_frame(bytes),
            record_batch::MAGIC => {
                BatchHeader::parse(bytes).map(Self::Batch).map_err(|e| e.to_string())
            }
            other => Err(format!("no batch or frame begins here (magic {other})")),
        }
    }

    fn parse_frame(bytes: &[u8]) -> Result<Self, String> {
        let Some(header) = bytes.get(..FRAME_HEADER_BYTES) else {
            return Err(format!("a frame's header is cut short at {} bytes", bytes.len()));
        };
        let length = i32::from_be_bytes(take(header, 8));
        let least = (FRAME_HEADER_BYTES - record_batch::LENGTH_PREFIX_BYTES) as i32;
        if length < least {
            return Err(format!("the frame length {length} is impossible"));
        }
        if header[22] != VERSION {
            return Err(format!("frame version {} is not known", header[22]));
        }
        let kind = FrameKind::from_byte(header[21])
            .ok_or_else(|| format!("frame kind {} is not known", header[21]))?;
        Ok(Self::Frame(FrameHeader {
            kind,
            next_offset: Offset(i64::from_be_bytes(take(header, 0))),
            term: i32::from_be_bytes(take(header, 12)),
            index: u64::from_be_bytes(take(header, 24)),
            size: record_batch::LENGTH_PREFIX_BYTES + length as usize,
            crc: u32::from_be_bytes(take(header, CRC_AT)),
        }))
    }

    /// Bytes of the whole item.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Batch(header) => header.size_bytes(),
            Self::Frame(header) => header.size,
        }
    }

    /// The offset that the item's records begin at, or would.
    pub(super) fn offset(&self) -> Offset {
        match self {
            Self::Batch(header) => header.base_offset,
            Self::Frame(header) => header.next_offset,
        }
    }

    /// The offset after the item.
    pub(super) fn next_offset(&self) -> Offset {
        match self {
            Self::Batch(header) => header.next_offset(),
            Self::Frame(header) => header.next_offset,
        }
    }

    pub(super) fn term(&self) -> i32 {
        match self {
            Self::Batch(header) => header.leader_epoch.0,
            Self::Frame(header) => header.term,
        }
    }

    pub(super) fn crc(&self) -> u32 {
        match self {
            Self::Batch(header) => header.crc,
            Self::Frame(header) => header.crc,
        }
    }

    /// The CRC of the header's covered part (`header` holds the item's first bytes), and where
    /// the part that the rest continues begins.
    pub(super) fn crc_start(&self, header: &[u8]) -> (u32, usize) {
        match self {
            Self::Batch(_) => (0, record_batch::CRC_START),
            Self::Frame(_) => (frame_crc_of_header(header), FRAME_HEADER_BYTES),
        }
    }

    /// Checks the CRC of an item that is whole in memory.
    pub(super) fn check_crc(&self, bytes: &[u8]) -> Result<(), String> {
        let (start, at) = self.crc_start(bytes);
        self.compare_crc(crc32c::crc32c_append(start, &bytes[at..self.size()]))
    }

    pub(super) fn compare_crc(&self, computed: u32) -> Result<(), String> {
        let stored = self.crc();
        if stored == computed {
            return Ok(());
        }
        Err(format!("CRC mismatch: stored {stored:08x}, computed {computed:08x}"))
    }
}

pub(super) fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_blank_frame() {
        let bytes = FrameHeader::encode(FrameKind::Blank, Offset(258), 7, 9, b"");
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        expect_test::expect!["000000000000010200000014000000074a192a5c810101000000000000000009"]
            .assert_eq(&hex);
        let item = Item::parse(&bytes).unwrap();
        assert_eq!((item.offset(), item.next_offset(), item.term()), (Offset(258), Offset(258), 7));
        assert_eq!(item.size(), 32);
        item.check_crc(&bytes).unwrap();
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_noticed() {
        let mut good = FrameHeader::encode(FrameKind::Command, Offset(5), 1, 2, b"body").to_vec();
        good.extend_from_slice(b"body");
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let noticed = match Item::parse(&bad) {
                Err(_) => true,
                Ok(item) => item.size() != bad.len() || item.check_crc(&bad).is_err(),
            };
            assert!(noticed, "bit {bit}");
        }
    }
}
