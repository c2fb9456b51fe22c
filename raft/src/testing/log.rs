//! A log in memory.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::entry::{Data, Entry, Payload};
use crate::flushed::Flushed;
use crate::id::LogId;
use crate::port::{LogPort, LogState};

#[derive(Debug, Default)]
struct State {
    purged: Option<LogId>,
    entries: VecDeque<Entry>,
    hold: bool,
    held: Vec<Flushed>,
}

/// A [`LogPort`] in memory: survives its group, not the process. Entries count as on disk at once,
/// unless [`MemLog::hold_flushes`] says otherwise.
#[derive(Debug, Default)]
pub struct MemLog {
    state: Mutex<State>,
}

impl MemLog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While held, nothing appended reaches the "disk"; letting go flushes it all, as a
    /// watermark: only the newest append is told.
    pub fn hold_flushes(&self, hold: bool) {
        let held = {
            let mut state = self.state();
            state.hold = hold;
            if hold { Vec::new() } else { std::mem::take(&mut state.held) }
        };
        if let Some(newest) = held.into_iter().last() {
            newest.done(Ok(()));
        }
    }

    /// Every entry that the log holds, without contexts.
    pub fn entries(&self) -> Vec<Entry> {
        self.state().entries.iter().map(copy).collect()
    }
}

impl State {
    fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.purged)
    }

    fn term_of(&self, index: u64) -> Option<u64> {
        let first = self.entries.front()?.log_id.index;
        let position = usize::try_from(index.checked_sub(first)?).ok()?;
        self.entries.get(position).map(|entry| entry.log_id.term)
    }
}

fn copy(entry: &Entry) -> Entry {
    let payload = match &entry.payload {
        Payload::Blank => Payload::Blank,
        Payload::Membership(membership) => Payload::Membership(membership.clone()),
        Payload::Data(data) => Payload::Data(Data::new(data.bytes.clone())),
    };
    Entry { log_id: entry.log_id, payload }
}

/// Bytes of the payload.
fn size(entry: &Entry) -> u64 {
    match &entry.payload {
        Payload::Data(data) => data.bytes.len() as u64,
        Payload::Blank | Payload::Membership(_) => 0,
    }
}

impl LogPort for MemLog {
    fn state(&self) -> io::Result<LogState> {
        let state = self.state();
        Ok(LogState { purged: state.purged, last: state.last() })
    }

    fn append(&self, entries: Vec<Entry>, flushed: Flushed) -> io::Result<()> {
        let mut state = self.state();
        for mut entry in entries {
            let next = state.last().map_or(0, |last| last.index + 1);
            if next != entry.log_id.index {
                return Err(io::Error::other(format!("{} does not follow", entry.log_id)));
            }
            if let Payload::Data(data) = &mut entry.payload {
                data.context = None;
            }
            state.entries.push_back(entry);
        }
        if state.hold {
            state.held.push(flushed);
            return Ok(());
        }
        drop(state);
        flushed.done(Ok(()));
        Ok(())
    }

    fn read(&self, range: Range<u64>, bytes_max: u64) -> io::Result<Vec<Entry>> {
        let state = self.state();
        let Some(first) = state.entries.front().map(|entry| entry.log_id.index) else {
            return Ok(Vec::new());
        };
        if range.start < first {
            return Ok(Vec::new());
        }
        let skipped = usize::try_from(range.start - first).unwrap_or(usize::MAX);
        let (mut read, mut bytes) = (Vec::new(), 0);
        for entry in state.entries.iter().skip(skipped) {
            if entry.log_id.index >= range.end {
                break;
            }
            bytes += size(entry);
            if bytes > bytes_max && !read.is_empty() {
                break;
            }
            read.push(copy(entry));
        }
        Ok(read)
    }

    fn bytes_of(&self, range: Range<u64>) -> io::Result<u64> {
        let state = self.state();
        let wanted = state.entries.iter().filter(|entry| range.contains(&entry.log_id.index));
        let sizes: Vec<u64> = wanted.map(size).collect();
        if sizes.len() as u64 != range.end.saturating_sub(range.start) {
            return Err(io::Error::other(format!("not all of {range:?} are there")));
        }
        Ok(sizes.iter().sum())
    }

    fn truncate_after(&self, last: Option<LogId>) -> io::Result<()> {
        let mut state = self.state();
        let keep = last.map_or(0, |last| last.index + 1);
        while state.entries.back().is_some_and(|entry| entry.log_id.index >= keep) {
            state.entries.pop_back();
        }
        Ok(())
    }

    fn purge(&self, upto: LogId) -> io::Result<()> {
        let mut state = self.state();
        while state.entries.front().is_some_and(|entry| entry.log_id.index <= upto.index) {
            state.entries.pop_front();
        }
        state.purged = state.purged.max(Some(upto));
        Ok(())
    }

    fn key_log_ids(&self, first: LogId, last: LogId) -> io::Result<Vec<LogId>> {
        let state = self.state();
        let mut ids = vec![first];
        let mut term = first.term;
        for index in first.index + 1..=last.index {
            let found = state.term_of(index);
            let found = found.ok_or_else(|| io::Error::other(format!("no entry {index}")))?;
            if found != term {
                ids.push(LogId::new(found, index));
                term = found;
            }
        }
        if ids.last() != Some(&last) {
            ids.push(last);
        }
        Ok(ids)
    }
}
