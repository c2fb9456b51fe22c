//! Reading and writing of this crate's own encodings: big-endian integers, lengths before bytes.
//!
//! **Invariant:** a decoder never allocates by a length that it has not checked against the bytes
//! at hand, and never panics on what a peer or a disk says.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::id::{GroupId, LogId, NodeId};

/// Bytes that do not say what they should. The text names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad encoding: {0}")]
pub struct DecodeError(pub(crate) &'static str);

type Result<T> = std::result::Result<T, DecodeError>;

/// A cursor over received bytes. Byte strings come out as slices of them, without a copy.
#[derive(Debug)]
pub(crate) struct Decoder {
    bytes: Bytes,
}

impl Decoder {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    fn need(&self, count: usize, field: &'static str) -> Result<()> {
        if self.bytes.len() < count { Err(DecodeError(field)) } else { Ok(()) }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8> {
        self.need(1, field)?;
        Ok(self.bytes.get_u8())
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16> {
        self.need(2, field)?;
        Ok(self.bytes.get_u16())
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32> {
        self.need(4, field)?;
        Ok(self.bytes.get_u32())
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64> {
        self.need(8, field)?;
        Ok(self.bytes.get_u64())
    }

    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError(field)),
        }
    }

    /// The next `count` bytes, shared with the input.
    pub(crate) fn bytes(&mut self, count: usize, field: &'static str) -> Result<Bytes> {
        self.need(count, field)?;
        Ok(self.bytes.split_to(count))
    }

    pub(crate) fn text(&mut self, count: usize, field: &'static str) -> Result<String> {
        let bytes = self.bytes(count, field)?;
        String::from_utf8(bytes.into()).map_err(|_| DecodeError(field))
    }

    pub(crate) fn node(&mut self, field: &'static str) -> Result<NodeId> {
        self.u64(field).map(NodeId)
    }

    pub(crate) fn group(&mut self, field: &'static str) -> Result<GroupId> {
        let mut id = [0; GroupId::LEN];
        self.need(GroupId::LEN, field)?;
        self.bytes.copy_to_slice(&mut id);
        Ok(GroupId::from_bytes(id))
    }

    pub(crate) fn log_id(&mut self, field: &'static str) -> Result<LogId> {
        Ok(LogId { term: self.u64(field)?, index: self.u64(field)? })
    }

    pub(crate) fn log_id_option(&mut self, field: &'static str) -> Result<Option<LogId>> {
        if self.flag(field)? { self.log_id(field).map(Some) } else { Ok(None) }
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> Bytes {
        self.bytes.split_to(self.bytes.len())
    }

    /// An error where bytes are left over.
    pub(crate) fn end(&self, field: &'static str) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(DecodeError(field)) }
    }
}

pub(crate) fn put_log_id(out: &mut BytesMut, id: LogId) {
    out.put_u64(id.term);
    out.put_u64(id.index);
}

/// One byte that says whether the 16 bytes of a log id follow.
pub(crate) fn put_log_id_option(out: &mut BytesMut, id: Option<LogId>) {
    match id {
        None => out.put_u8(0),
        Some(id) => {
            out.put_u8(1);
            put_log_id(out, id);
        }
    }
}
