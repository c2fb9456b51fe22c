//! A frame: one request, answer or notice between two nodes.
//!
//! ```text
//!  0  u32  length of what follows this field
//!  4  u32  CRC-32C of what follows this field
//!  8  u8   kind
//!  9  u8   role: 0 request, 1 answer, 2 notice (wants no answer)
//! 10  u8   status of an answer; 0 elsewhere
//! 11  u8   0
//! 12  u32  milliseconds that the asker waits; 0 in answers and notices
//! 16  u64  request id, the asker's; repeated in the answer
//! 24  20 B group
//! 44       body
//! ```
//!
//! The CRC covers bodies too: TCP's 16-bit sum misses about one damaged segment in 65,536, and a
//! flipped bit in a term, a vote or a command would be replicated as the truth. CRC-32C runs in
//! hardware at well above 10 GB/s a core.
//!
//! **Invariant:** the length is checked against the limit before memory is reserved, and memory
//! grows with the bytes that came, not with the bytes that were promised.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::codec::DecodeError;
use crate::id::GroupId;

/// Bytes before a frame's body.
pub(crate) const HEADER_LEN: usize = 44;
/// What a length field counts at least.
const LENGTH_MIN: usize = HEADER_LEN - 4;
/// Reserved at once for a promised frame; beyond, the buffer doubles as bytes come.
const RESERVE_MAX: usize = 8 << 20;
const READ_BYTES: usize = 64 << 10;

macro_rules! byte_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $value:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant = $value),+ }

        impl $name {
            fn from_byte(byte: u8) -> Result<Self, DecodeError> {
                match byte {
                    $($value => Ok(Self::$variant),)+
                    _ => Err(DecodeError(concat!("frame ", stringify!($name)))),
                }
            }
        }
    };
}

byte_enum! {
    /// What a frame is about.
    Kind {
        /// A candidate asks for a vote.
        Vote = 1,
        /// A would-be candidate asks whether it would get one.
        PreVote = 2,
        /// A leader's entries, in order within a session.
        Append = 3,
        /// A group leader's heartbeat: an append without entries, in no order.
        Probe = 4,
        /// A snapshot, whole.
        Snapshot = 5,
        /// A leader asks its successor to campaign.
        Transfer = 6,
        /// A call of the application.
        Call = 7,
        /// A node's heartbeat.
        Beat = 8,
        /// The answer to a node's heartbeat.
        BeatEcho = 9,
        /// Which groups a node leads.
        Announcement = 10,
        /// A replica without its log asks the leader where that one's ends.
        End = 11,
        /// Which replicas of a node lack their logs, in the form of an announcement.
        Incomplete = 12,
        /// A node is about to stop: it takes no leadership over.
        Leaving = 13,
        /// A node asks which of many groups would elect it.
        Canvass = 14,
    }
}

byte_enum! {
    /// Which way a frame goes.
    Role { Request = 0, Answer = 1, Notice = 2 }
}

byte_enum! {
    /// How a request fared.
    Status {
        Ok = 0,
        /// The group is not open there.
        UnknownGroup = 1,
        /// Refused; the body says why, in text.
        Failed = 2,
        /// Nobody serves requests of this kind there.
        NotServed = 3,
    }
}

/// A frame as received. The body shares the receive buffer.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) role: Role,
    pub(crate) status: Status,
    pub(crate) deadline_ms: u32,
    pub(crate) id: u64,
    pub(crate) group: GroupId,
    pub(crate) body: Bytes,
}

/// A frame to be sent: a head of small fields, then payloads that are written from where they are.
#[derive(Debug)]
pub(crate) struct Outgoing {
    head: BytesMut,
    chunks: Vec<Bytes>,
}

impl Outgoing {
    /// A frame whose body begins with `body_len` bytes (a hint) put into [`Outgoing::body`].
    pub(crate) fn new(kind: Kind, group: GroupId, body_len: usize) -> Self {
        let mut head = BytesMut::with_capacity(HEADER_LEN + body_len);
        head.put_bytes(0, 8);
        head.put_u8(kind as u8);
        head.put_bytes(0, 15);
        head.put_slice(&group.to_bytes());
        Self { head, chunks: Vec::new() }
    }

    /// The body's first part.
    pub(crate) fn body(&mut self) -> &mut BytesMut {
        &mut self.head
    }

    /// Appends payload bytes, without a copy. They follow everything put into the body.
    pub(crate) fn chunk(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.chunks.push(bytes);
        }
    }

    pub(crate) fn reserve_chunks(&mut self, count: usize) {
        self.chunks.reserve(count);
    }

    /// Bytes on the wire.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.chunks.iter().map(Bytes::len).sum::<usize>()
    }

    /// Fills in the header; the frame's pieces in order. The caller has checked the length.
    pub(crate) fn seal(
        mut self,
        role: Role,
        status: Status,
        deadline_ms: u32,
        id: u64,
    ) -> (Bytes, Vec<Bytes>) {
        let length = u32::try_from(self.len() - 4).expect("a frame's length was checked");
        self.head[9] = role as u8;
        self.head[10] = status as u8;
        self.head[12..16].copy_from_slice(&deadline_ms.to_be_bytes());
        self.head[16..24].copy_from_slice(&id.to_be_bytes());
        let mut crc = crc32c::crc32c(&self.head[8..]);
        for chunk in &self.chunks {
            crc = crc32c::crc32c_append(crc, chunk);
        }
        self.head[0..4].copy_from_slice(&length.to_be_bytes());
        self.head[4..8].copy_from_slice(&crc.to_be_bytes());
        (self.head.freeze(), self.chunks)
    }
}

/// Cuts frames from a stream of bytes.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: BytesMut,
    frame_bytes_max: usize,
}

impl FrameReader {
    pub(crate) fn new(frame_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), frame_bytes_max }
    }

    /// Where received bytes are appended; call [`FrameReader::next`] first, which reserves space.
    pub(crate) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether bytes of an unfinished frame are held.
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The next whole frame; `None` where more bytes are needed.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, DecodeError> {
        let Some(prefix) = self.buffer.first_chunk::<4>() else {
            self.buffer.reserve(READ_BYTES);
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix) as usize;
        if length < LENGTH_MIN {
            return Err(DecodeError("frame length too small"));
        }
        if length + 4 > self.frame_bytes_max {
            return Err(DecodeError("frame length too large"));
        }
        let missing = (length + 4).saturating_sub(self.buffer.len());
        if missing > 0 {
            let at_once = missing.min(RESERVE_MAX.max(self.buffer.len()));
            self.buffer.reserve(at_once.max(READ_BYTES));
            return Ok(None);
        }
        let mut bytes = self.buffer.split_to(length + 4).freeze();
        bytes.advance(4);
        parse(bytes).map(Some)
    }
}

/// `bytes` begins at the CRC and holds at least a header.
fn parse(mut bytes: Bytes) -> Result<Frame, DecodeError> {
    let crc = bytes.get_u32();
    if crc32c::crc32c(&bytes) != crc {
        return Err(DecodeError("frame checksum"));
    }
    let kind = Kind::from_byte(bytes.get_u8())?;
    let role = Role::from_byte(bytes.get_u8())?;
    let status = Status::from_byte(bytes.get_u8())?;
    if bytes.get_u8() != 0 {
        return Err(DecodeError("frame reserved byte"));
    }
    let deadline_ms = bytes.get_u32();
    let id = bytes.get_u64();
    let mut group = [0; GroupId::LEN];
    bytes.copy_to_slice(&mut group);
    let group = GroupId::from_bytes(group);
    Ok(Frame { kind, role, status, deadline_ms, id, group, body: bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> Vec<u8> {
        let mut frame = Outgoing::new(Kind::Call, GroupId { topic: 1, partition: 2 }, 2);
        frame.body().put_slice(&[0xAA, 0xBB]);
        frame.chunk(Bytes::from_static(b"tail"));
        let (head, chunks) = frame.seal(Role::Request, Status::Ok, 250, 9);
        [head.as_ref(), chunks[0].as_ref()].concat()
    }

    #[test]
    fn golden() {
        #[rustfmt::skip]
        let golden: &[u8] = &[
            0, 0, 0, 46,
            0xD6, 0xC5, 0x6E, 0x90,
            7, 0, 0, 0,
            0, 0, 0, 250,
            0, 0, 0, 0, 0, 0, 0, 9,
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2,
            0xAA, 0xBB, b't', b'a', b'i', b'l',
        ];
        assert_eq!(sealed(), golden);
    }

    #[test]
    fn frames_come_out_whole_however_they_come_in() {
        let stream = [sealed(), sealed()].concat();
        let mut reader = FrameReader::new(1 << 16);
        let mut frames = Vec::new();
        for byte in stream {
            reader.buffer().put_u8(byte);
            while let Some(frame) = reader.next().unwrap() {
                frames.push(frame);
            }
        }
        assert!(reader.is_empty());
        assert_eq!(frames.len(), 2);
        assert_eq!((frames[1].kind, frames[1].role, frames[1].id), (Kind::Call, Role::Request, 9));
        assert_eq!(&frames[1].body[..], b"\xAA\xBBtail");
        assert_eq!(frames[1].group, GroupId { topic: 1, partition: 2 });
    }

    #[test]
    fn hostile_lengths_and_every_flipped_bit_are_refused() {
        for length in [0u32, 39, 1 << 20, 0x7FFF_FFFF, u32::MAX] {
            let mut reader = FrameReader::new(1 << 16);
            reader.buffer().put_u32(length);
            assert!(reader.next().is_err(), "{length}");
            assert!(reader.buffer.capacity() <= READ_BYTES);
        }
        let good = sealed();
        for bit in 32..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut reader = FrameReader::new(1 << 16);
            reader.buffer().put_slice(&bad);
            assert!(reader.next().is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_promised_length_reserves_little() {
        let mut reader = FrameReader::new(512 << 20);
        reader.buffer().put_u32(256 << 20);
        assert!(reader.next().unwrap().is_none());
        assert!(reader.buffer.capacity() <= 2 * RESERVE_MAX);
    }
}
