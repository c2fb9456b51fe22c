//! The frame that every segment begins with: whose log it is, and what came before.
//!
//! Body of a head frame, behind the 32 bytes of `frame` (whose next offset is the segment's base
//! offset, index its first index, term that of the entry before or −1):
//! ```text
//!  0  previous first index  u64   first index of the segment before; 2^64−1 if there is none
//!  8  previous newest       i64   largest timestamp of that segment's batches; −1 if there is none
//! 16  topic id              16
//! 32  partition             i32
//! 36  cluster id            u8 length, then bytes
//!  …  epochs                u32 count, then per epoch: term u32, first index u64, start offset i64
//! ```
//! The epochs are those that began before the segment, so that opening a log reads its last one only.
//!
//! **Invariant:** a segment may have its name before its head is on the disk; then nothing in it is
//! durable, and no recovery point speaks of it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::model::{Offset, PartitionIndex, Timestamp, TopicId};

use super::LogIdentity;
use super::epochs::{EpochStart, Epochs};
use super::frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind, Item, take};

/// What is read of a head at once: more than all but those with a long list of epochs.
const READ_BYTES: usize = 512;
const HEAD_BYTES_MAX: usize = 16 << 20;
const NO_INDEX: u64 = u64::MAX;
const EPOCH_BYTES: usize = 20;

/// A segment's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentHead {
    pub(super) base_offset: Offset,
    pub(super) first_index: u64,
    /// Term of the entry before the first.
    pub(super) term_before: Option<u64>,
    pub(super) previous_first_index: Option<u64>,
    /// Largest timestamp of the batches of the segment before.
    pub(super) previous_max_timestamp: Timestamp,
    pub(super) identity: LogIdentity,
    pub(super) epochs: Epochs,
}

impl SegmentHead {
    /// The whole frame.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(self.previous_first_index.unwrap_or(NO_INDEX).to_be_bytes());
        body.extend(self.previous_max_timestamp.0.to_be_bytes());
        body.extend(self.identity.topic_id.to_bytes());
        body.extend(self.identity.partition.0.to_be_bytes());
        let cluster = self.identity.cluster_id.as_bytes();
        let length = u8::try_from(cluster.len()).expect("a cluster id of at most 255 bytes");
        body.push(length);
        body.extend(cluster);
        body.extend((self.epochs.starts().len() as u32).to_be_bytes());
        for epoch in self.epochs.starts() {
            body.extend((epoch.term as u32).to_be_bytes());
            body.extend(epoch.first_index.to_be_bytes());
            body.extend(epoch.start_offset.0.to_be_bytes());
        }
        let term = self.term_before.map_or(-1, |t| t as i32);
        let (kind, index) = (FrameKind::Head, self.first_index);
        let mut frame = FrameHeader::encode(kind, self.base_offset, term, index, &body).to_vec();
        frame.extend(body);
        frame
    }

    /// Reads a head whose frame is whole in `bytes`, and the frame's size. `Err` says what is wrong.
    pub(super) fn decode(bytes: &[u8]) -> Result<(Self, usize), String> {
        let item = Item::parse(bytes)?;
        let Item::Frame(frame) = item else { return Err("a batch in place of the head".into()) };
        if frame.kind != FrameKind::Head {
            return Err("an entry in place of the segment's head".into());
        }
        let Some(body) = bytes.get(FRAME_HEADER_BYTES..frame.size) else {
            return Err("the segment's head is cut short".into());
        };
        item.check_crc(bytes)?;
        let mut body = Reader(body);
        let previous = u64::from_be_bytes(body.take()?);
        let previous_max_timestamp = Timestamp(i64::from_be_bytes(body.take()?));
        let topic_id = TopicId::from_bytes(body.take()?);
        let partition = PartitionIndex(i32::from_be_bytes(body.take()?));
        let [length] = body.take()?;
        let cluster_id = String::from_utf8_lossy(body.slice(length.into())?).into_owned();
        let count = u32::from_be_bytes(body.take()?) as usize;
        if count * EPOCH_BYTES != body.0.len() {
            return Err(format!("{count} epochs in {} bytes", body.0.len()));
        }
        let mut epochs = Vec::with_capacity(count);
        for _ in 0..count {
            epochs.push(EpochStart {
                term: u32::from_be_bytes(body.take()?).into(),
                first_index: u64::from_be_bytes(body.take()?),
                start_offset: Offset(i64::from_be_bytes(body.take()?)),
            });
        }
        let head = Self {
            base_offset: frame.next_offset,
            first_index: frame.index,
            term_before: u64::try_from(frame.term).ok(),
            previous_first_index: (previous != NO_INDEX).then_some(previous),
            previous_max_timestamp,
            identity: LogIdentity { cluster_id, topic_id, partition },
            epochs: Epochs::from_starts(epochs),
        };
        Ok((head, frame.size))
    }
}

/// A head as it was found in a file.
pub(super) struct StoredHead {
    pub(super) head: SegmentHead,
    pub(super) head_bytes: u64,
    pub(super) file_bytes: u64,
}

impl StoredHead {
    /// Reads the head of the file at `path`; the inner `Err` says what is wrong with it.
    pub(super) fn read(path: &Path) -> io::Result<Result<Self, String>> {
        let file = File::open(path)?;
        let mut bytes = read_begin(&file, READ_BYTES)?;
        if let Ok(item) = Item::parse(&bytes)
            && item.size() > bytes.len()
            && item.size() > FRAME_HEADER_BYTES
        {
            bytes = read_begin(&file, item.size().min(HEAD_BYTES_MAX))?;
        }
        let file_bytes = file.metadata()?.len();
        let stored = |(head, size)| Self { head, head_bytes: size as u64, file_bytes };
        Ok(SegmentHead::decode(&bytes).map(stored))
    }
}

/// Whether the file at `path` begins with nothing but zeros, as one that was never synced may.
pub(super) fn is_blank(path: &Path) -> io::Result<bool> {
    let bytes = read_begin(&File::open(path)?, READ_BYTES)?;
    Ok(bytes.iter().all(|b| *b == 0))
}

/// The file's first `len` bytes, fewer if it is shorter.
fn read_begin(file: &File, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    let mut have = 0;
    while have < len {
        match file.read_at(&mut bytes[have..], have as u64) {
            Ok(0) => break,
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(have);
    Ok(bytes)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn slice(&mut self, len: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self.0.split_at_checked(len).ok_or("the segment's head is too short")?;
        self.0 = rest;
        Ok(head)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.slice(N).map(|bytes| take(bytes, 0))
    }
}
