//! Writes zeros into room that was taken ahead, where that makes syncs cheaper.
//!
//! Room that is only allocated has to be marked as written by the first sync of each piece of it: that is a
//! commit of the file system's journal, one after the other for all files of a volume. Where zeros
//! were written and synced before, in large pieces, a sync writes the appended bytes and nothing else.
//!
//! Every byte is then written twice. So it is done only for logs whose syncs are small, where the
//! journal's own blocks would be as many.
//!
//! Deliberately elsewhere: that zeros overtake no entry ([`super::grow`]).

use std::fs::File;
use std::io;
use std::ops::Range;

use crate::storage::Disk;
use crate::storage::locks::lock;

use super::{Inner, Watched};

/// How many bytes a sync covers in the mean where zeros are worth it, at most: about where the journal's
/// part of a sync becomes the smaller one (measured on ext4).
const SYNC_BYTES_MAX: u64 = 128 << 10;
/// Room made at once. The next sync of an append may have to wait for its zeros.
pub(super) const ZEROED_BYTES_MAX: u64 = 1 << 20;
/// Zeros of one write. An append waits as long as it takes to copy them.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// The bytes that a log's syncs cover, in the mean, the last ones counting most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SyncSize(u64);

impl SyncSize {
    /// One more sync covers `bytes` that none did before.
    pub(super) fn note(&mut self, bytes: u64) {
        if bytes > 0 {
            self.0 = self.0 - self.0 / 8 + bytes / 8;
        }
    }

    fn is_small(self) -> bool {
        self.0 <= SYNC_BYTES_MAX
    }
}

impl Inner {
    /// Whether room that is taken ahead is to be filled with zeros.
    pub(super) fn is_zeroing(&self) -> bool {
        !self.flush.is_relaxed()
            && self.storage.space.has_room()
            && lock(&self.sync).size.is_small()
    }

    /// Writes zeros into one of the [`pieces`] of allocated room.
    pub(super) fn write_zeros(&self, file: &File, piece: Range<u64>) -> io::Result<()> {
        let len = (piece.end - piece.start) as usize;
        let disk: &dyn Disk = &Watched(self);
        disk.write_bytes_at(file, &ZEROS[..len], piece.start)
    }
}

/// The ranges that one write of zeros each covers.
pub(super) fn pieces(room: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let Range { start, end } = room;
    (start..end).step_by(ZEROS.len()).map(move |at| at..end.min(at + ZEROS.len() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_count_as_small_until_they_have_been_large_for_a_while() {
        let mut size = SyncSize::default();
        assert!(size.is_small(), "a log begins with small syncs");
        size.note(SYNC_BYTES_MAX);
        size.note(1 << 20);
        assert!(!size.is_small());
        for _ in 0..30 {
            size.note(0);
        }
        assert!(!size.is_small(), "a sync of nothing says nothing");
        for _ in 0..30 {
            size.note(16 << 10);
        }
        assert!(size.is_small());
        for _ in 0..1000 {
            size.note(SYNC_BYTES_MAX);
        }
        assert!(size.is_small());
    }

    #[test]
    fn pieces_cover_the_room_once() {
        assert_eq!(pieces(5..5).count(), 0);
        let mut at = 100;
        for piece in pieces(100..(200 << 10) + 1) {
            assert_eq!(piece.start, at);
            assert!(piece.end - piece.start <= ZEROS.len() as u64);
            at = piece.end;
        }
        assert_eq!(at, (200 << 10) + 1);
    }
}
