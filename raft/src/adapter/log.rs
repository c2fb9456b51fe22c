//! openraft's log storage and log reader over a [`LogPort`] and the shared [`HardStateStore`].
//!
//! **Invariant:** votes are read from memory and written only after every earlier append of the
//! group is on disk; a read for replication stops at the byte bound.

use std::convert::Infallible;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{Stream, stream};
use openraft::storage::{LogState as RaftLogState, RaftLogReader, RaftLogStorage};
use openraft::{OptionalSend, RaftTypeConfig};
use tokio::sync::mpsc;

use super::completion::GroupSignals;
use super::types::*;
use crate::blocking::blocking;
use crate::entry::Entry;
use crate::flushed::{Flushed, WriteOrder};
use crate::id::{GroupId, LogId};
use crate::port::{HardStateStore, LogPort};
use crate::vote::{HardState, Vote};

/// Bytes of payload read at once for applying: bounds memory, not results.
const APPLY_BYTES_MAX: u64 = 8 << 20;

/// Between two attempts to save a vote for which there is no room.
const ROOM_RETRY: Duration = Duration::from_millis(500);

/// One group's log as openraft sees it. Clones share everything; the first is the only writer.
#[derive(Clone)]
pub(crate) struct LogStore {
    group: GroupId,
    port: Arc<dyn LogPort>,
    hard: Arc<dyn HardStateStore>,
    vote: Arc<Mutex<Option<Vote>>>,
    committed: Option<LogId>,
    order: Arc<WriteOrder>,
    append_bytes_max: u64,
    signals: Arc<GroupSignals>,
    /// Held by whatever may still use the port; the group is closed when all are dropped.
    _alive: mpsc::Sender<Infallible>,
}

impl LogStore {
    pub(crate) fn new(
        group: GroupId,
        port: Arc<dyn LogPort>,
        hard: Arc<dyn HardStateStore>,
        append_bytes_max: u64,
        signals: Arc<GroupSignals>,
        alive: mpsc::Sender<Infallible>,
    ) -> io::Result<Self> {
        let HardState { vote, committed, .. } = hard.load(group)?;
        signals.voted.store(vote.map_or(0, |vote| vote.term), Ordering::Release);
        // The checkpoint may be ahead of what survived of the log; then the log's end is what is
        // known to be worth applying again.
        let committed = committed.min(port.state()?.last);
        Ok(Self {
            group,
            port,
            hard,
            vote: Arc::new(Mutex::new(vote)),
            committed,
            order: Arc::new(WriteOrder::new()),
            append_bytes_max,
            signals,
            _alive: alive,
        })
    }

    /// Tells when appends are on disk.
    pub(crate) fn order(&self) -> Arc<WriteOrder> {
        self.order.clone()
    }

    fn vote(&self) -> MutexGuard<'_, Option<Vote>> {
        // A vote is a plain value: no panic can leave it half written.
        self.vote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every entry of the range that the log holds.
    fn read_all(&self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let mut entries = self.read_some(start, end, u64::MAX)?;
        while let Some(next) = entries.last().map(|entry| entry.log_id.index + 1) {
            if next >= end {
                break;
            }
            let more = self.read_some(next, end, u64::MAX)?;
            if more.is_empty() {
                break;
            }
            entries.extend(more);
        }
        Ok(entries)
    }

    fn read_some(&self, start: u64, end: u64, bytes_max: u64) -> io::Result<Vec<Entry>> {
        let purged_end = self.port.state()?.purged.map_or(0, |purged| purged.index + 1);
        let start = start.max(purged_end);
        if start >= end {
            return Ok(Vec::new());
        }
        let entries = self.port.read(start..end, bytes_max)?;
        assert!(
            entries.windows(2).all(|pair| pair[0].log_id.index + 1 == pair[1].log_id.index)
                && entries.iter().all(|entry| (start..end).contains(&entry.log_id.index)),
            "the log port read other entries than asked for"
        );
        Ok(entries)
    }
}

impl RaftLogReader<C> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<RaftEntry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        Ok(self.read_all(start, end)?.into_iter().map(to_entry).collect())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> io::Result<Vec<RaftEntry>> {
        let entries = self.read_some(start, end, self.append_bytes_max)?;
        Ok(entries.into_iter().map(to_entry).collect())
    }

    /// Serves applying only: reads piecewise, so that a long backlog does not fill memory.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<RaftEntry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let state = (self.clone(), start, Vec::new().into_iter());
        stream::unfold(state, move |(store, next, mut piece)| async move {
            if let Some(entry) = Iterator::next(&mut piece) {
                return Some((Ok(to_entry(entry)), (store, next + 1, piece)));
            }
            if next >= end {
                return None;
            }
            let mut piece = match store.port.read(next..end, APPLY_BYTES_MAX) {
                Ok(entries) => entries.into_iter(),
                Err(error) => return Some((Err(error), (store, end, Vec::new().into_iter()))),
            };
            let entry = piece.next()?;
            if entry.log_id.index != next {
                let gap = io::Error::other(format!("entry {next} is missing from the log"));
                return Some((Err(gap), (store, end, Vec::new().into_iter())));
            }
            Some((Ok(to_entry(entry)), (store, next + 1, piece)))
        })
    }

    async fn read_vote(&mut self) -> io::Result<Option<RaftVote>> {
        Ok(self.vote().map(to_vote))
    }

    async fn get_key_log_ids(
        &mut self,
        range: RangeInclusive<RaftLogId>,
    ) -> io::Result<Vec<RaftLogId>> {
        let (first, last) = (from_log_id(range.start()), from_log_id(range.end()));
        let ids = self.port.key_log_ids(first, last)?;
        if ids.first() != Some(&first) || ids.last() != Some(&last) {
            return Err(io::Error::other(format!("no terms between {first} and {last}: {ids:?}")));
        }
        Ok(term_ends(&ids).into_iter().map(to_log_id).collect())
    }
}

impl RaftLogStorage<C> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<RaftLogState<C>> {
        let state = self.port.state()?;
        Ok(RaftLogState {
            last_purged_log_id: state.purged.map(to_log_id),
            last_log_id: state.last.map(to_log_id),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> io::Result<()> {
        let vote = from_vote(vote);
        self.signals.voted.fetch_max(vote.term, Ordering::Release);
        self.order.settled().await;
        loop {
            match self.hard.save_vote(self.group, vote).await {
                // Nobody has been told of it: it may wait.
                Err(error) if is_full(&error) && !self.signals.closing.load(Ordering::Acquire) => {
                    tracing::warn!(group = %self.group, %error, "a vote waits for room on the disk");
                    tokio::time::sleep(ROOM_RETRY).await;
                }
                saved => break saved?,
            }
        }
        *self.vote() = Some(vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<RaftLogId>) -> io::Result<()> {
        self.hard.save_committed(self.group, committed.as_ref().map(from_log_id));
        self.committed = committed.as_ref().map(from_log_id);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<RaftLogId>> {
        Ok(self.committed.map(to_log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: RaftFlushed) -> io::Result<()>
    where
        I: IntoIterator<Item = <C as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(from_entry).collect();
        self.port.append(entries, Flushed::of_group(callback, &self.order))
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> io::Result<()> {
        let last = last.as_ref().map(from_log_id);
        blocking(|| self.port.truncate_after(last))
    }

    async fn purge(&mut self, upto: RaftLogId) -> io::Result<()> {
        let upto = from_log_id(&upto);
        blocking(|| self.port.purge(upto))
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The last entry of every term, from the first entry of every term and the last of all. openraft's
/// documentation of `get_key_log_ids` speaks of first entries; its code, and its suite, of last ones.
fn term_ends(ids: &[LogId]) -> Vec<LogId> {
    let begins_next = |pair: &[LogId]| {
        let (before, next) = (pair[0], pair[1]);
        (before.term != next.term).then(|| LogId::new(before.term, next.index - 1))
    };
    ids.windows(2).filter_map(begins_next).chain(ids.last().copied()).collect()
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn term_ends_follow_from_term_begins() {
        let ids = |ids: &[(u64, u64)]| -> Vec<_> {
            ids.iter().map(|(term, index)| LogId::new(*term, *index)).collect()
        };
        type Ids = &'static [(u64, u64)];
        let cases: [(Ids, Ids); 4] = [
            (&[(1, 4)], &[(1, 4)]),
            (&[(1, 4), (1, 9)], &[(1, 9)]),
            (&[(0, 0), (1, 1), (2, 3)], &[(0, 0), (1, 2), (2, 3)]),
            (&[(2, 5), (5, 8), (6, 9), (6, 12)], &[(2, 7), (5, 8), (6, 12)]),
        ];
        for (begins, ends) in cases {
            assert_eq!(term_ends(&ids(begins)), ids(ends));
        }
    }
}
