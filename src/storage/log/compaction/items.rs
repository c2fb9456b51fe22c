//! Reads a segment's items with their bytes, in order, each checked.
//!
//! **Invariant:** what is handed out has had its CRC checked.

use bytes::Bytes;

use crate::storage::LogError;
use crate::storage::walker::{Located, Walker};

use super::super::read::Chunk;
use super::super::view::Part;

/// Bytes read at a time.
const AHEAD_BYTES: usize = 1 << 20;
/// Bytes that are read and written between two looks at the pace.
const PACE_BYTES: u64 = 256 << 10;

/// Goes over the items of a part.
pub(super) struct Items<'a> {
    part: &'a Part,
    walker: Walker,
    chunk: Chunk<'a>,
    /// Bytes since the pace was last asked.
    unpaced: u64,
}

impl<'a> Items<'a> {
    pub(super) fn new(part: &'a Part) -> Result<Self, LogError> {
        let walker = part.segment.walker_at(None, &part.end)?;
        Ok(Self { part, walker, chunk: Chunk::new(part), unpaced: 0 })
    }

    pub(super) fn next(&mut self) -> Result<Option<(Located, Bytes)>, LogError> {
        let Some(located) = self.part.next(&mut self.walker)? else { return Ok(None) };
        let size = located.item.size();
        let bytes = self.chunk.get(located.position, size, AHEAD_BYTES)?;
        let damaged = |what| self.part.segment.corrupt(located.position, what);
        located.item.check_crc(&bytes).map_err(damaged)?;
        self.unpaced += size as u64;
        Ok(Some((located, bytes)))
    }

    /// Notes that bytes were written, too.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.unpaced += bytes as u64;
    }

    /// Tells `pace` from time to time how much was read and written, and asks whether to go on.
    pub(super) fn goes_on(&mut self, pace: &mut dyn FnMut(u64) -> bool) -> bool {
        if self.unpaced < PACE_BYTES {
            return true;
        }
        pace(std::mem::take(&mut self.unpaced))
    }

    /// The same at the segment's end, however little it was: many small ones are much, too.
    pub(super) fn ends(&mut self, pace: &mut dyn FnMut(u64) -> bool) -> bool {
        pace(std::mem::take(&mut self.unpaced))
    }
}
