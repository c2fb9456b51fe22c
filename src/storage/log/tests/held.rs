//! What a log must hold after each step, and what it may hold after a crash within one.

use super::records::{Compactable, is_same_place, keyed_batch};
use super::script::Step;
use super::*;
use crate::model::record_batch::BatchHeader;
use crate::model::records::batches;
use crate::storage::EntryId;

/// What a log holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    /// Index of the first of `entries`.
    pub(super) first: u64,
    /// As they were appended; compaction may have taken records from those that are committed.
    pub(super) entries: Vec<LogEntry>,
    pub(super) start: Offset,
    /// What was purged or reset to.
    pub(super) purged: Option<EntryId>,
    pub(super) term: u64,
    pub(super) snapshot: Option<Vec<u8>>,
    /// Everything before this index was acknowledged.
    pub(super) durable: u64,
    /// Everything before this index is committed: nothing cuts it off.
    pub(super) committed: u64,
}

impl Held {
    pub(super) fn new() -> Self {
        Self {
            first: 0,
            entries: Vec::new(),
            start: Offset::ZERO,
            purged: None,
            term: 1,
            snapshot: None,
            durable: 0,
            committed: 0,
        }
    }

    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn last(&self) -> Option<EntryId> {
        self.entries.last().map(|e| e.id).or(self.purged)
    }

    fn end(&self) -> Offset {
        end_of(&self.entries).unwrap_or(self.start)
    }

    /// What `step` appends, and what the log holds then.
    pub(super) fn after(&self, step: &Step) -> (Vec<LogEntry>, Self) {
        let mut after = self.clone();
        let mut appended = Vec::new();
        match step {
            Step::Append(sizes) => appended = self.entries_of(sizes),
            Step::NewTerm => {
                after.term += 1;
                appended = vec![blank(after.term, self.next())];
            }
            Step::Truncate(share) => {
                let may_go = self.next() - self.committed;
                let keep = self.committed - self.first + may_go * u64::from(*share) / 255;
                after.entries.truncate(keep as usize);
                after.durable = after.next();
            }
            Step::Purge(share) => {
                let count = self.entries.len() * usize::from(*share) / 255;
                if let Some(last) = count.checked_sub(1).map(|at| self.entries[at].id) {
                    after.entries.drain(..count);
                    after.start = end_of(&self.entries[..count]).unwrap_or(self.start);
                    (after.first, after.purged) = (last.index + 1, Some(last));
                    after.durable = after.durable.max(after.first);
                    after.committed = after.committed.max(after.first);
                    after.snapshot = Some(format!("up to {last}").into_bytes());
                }
            }
            Step::Reset => {
                after.term += 1;
                let last = EntryId::new(after.term, self.next() + 10);
                after.start = self.end().advance(7);
                (after.first, after.purged) = (last.index + 1, Some(last));
                after.entries.clear();
                (after.durable, after.committed) = (after.first, after.first);
                after.snapshot = Some(format!("reset to {last}").into_bytes());
            }
            Step::Compact(share) => {
                let commits = (self.next() - self.committed) * u64::from(*share) / 255;
                after.committed += commits;
            }
            Step::Sync | Step::Restart | Step::Restarted => after.durable = self.next(),
            Step::Roll | Step::Flush(_) => {}
        }
        let mut offset = self.end();
        for entry in &appended {
            let stamped = stamped(entry, offset);
            offset = end_of(std::slice::from_ref(&stamped)).unwrap_or(offset);
            after.entries.push(stamped);
        }
        (appended, after)
    }

    fn entries_of(&self, sizes: &[usize]) -> Vec<LogEntry> {
        let begins = self.last().is_none_or(|last| last.term < self.term);
        let entry = |(index, size): (u64, &usize)| match size {
            _ if index == self.next() && begins => blank(self.term, index),
            size if size % 2 == 1 => {
                let body = EntryBody::Command(Bytes::from(vec![7; *size]));
                LogEntry::new(self.term, index, body)
            }
            size => keyed_batch(self.term, index, *size),
        };
        (self.next()..).zip(sizes).map(entry).collect()
    }

    /// Whether `log` holds this, but for entries from index `floor` on, which may be missing at the end.
    pub(super) fn check(&self, log: &Log, floor: u64) -> Result<(), String> {
        let is = |what: &str, same: bool| if same { Ok(()) } else { Err(what.to_owned()) };
        let purged = log.purged();
        is(&format!("{purged:?} is purged, not {:?}", self.purged), purged == self.purged)?;
        is("the start offset", log.start_offset() == self.start)?;
        let next = log.last().map_or(0, |last| last.index + 1);
        is(&format!("ends before {next}, floor {floor}"), next >= floor)?;
        is(&format!("ends before {next} instead of {}", self.next()), next <= self.next())?;
        let wanted = &self.entries[..(next - self.first) as usize];
        let last = wanted.last().map(|e| e.id).or(self.purged);
        is("the last entry", log.last() == last)?;
        let may = Compactable::new(wanted, self.committed);
        may.check(&read_entries(log)?)?;
        let terms = wanted.iter().all(|e| log.term_of(e.id.index) == Some(e.id.term));
        is("terms differ", terms)?;
        let end = log.end_offset();
        let slices = log.slices(self.start, end, 1 << 30, true).map_err(|e| e.to_string())?;
        let bytes = Bytes::from(read_slices(&slices));
        let served: Vec<_> =
            batches(bytes.clone()).collect::<Result<_, _>>().map_err(|e| format!("slices: {e}"))?;
        is(
            "slices end within a batch",
            served.iter().map(Bytes::len).sum::<usize>() == bytes.len(),
        )?;
        may.check_batches(&served).map_err(|what| format!("slices: {what}"))?;
        let headers = log.batch_headers(self.start, end).map_err(|e| e.to_string())?;
        let headers: Vec<_> = headers
            .map(|h| h.map(|h| h.header))
            .collect::<Result<_, _>>()
            .map_err(|e| e.to_string())?;
        let same = served.iter().map(|batch| BatchHeader::parse(batch).unwrap());
        is("headers differ", headers == same.collect::<Vec<_>>())
    }

    /// Whether what `log` serves is from this, as far as it serves it.
    fn check_served(&self, log: &Log) -> Result<(), String> {
        let next = log.last().map_or(0, |last| last.index + 1);
        if log.purged() != self.purged || next > self.next() {
            return Err("another beginning or end".to_owned());
        }
        let wanted = &self.entries[..(next - self.first) as usize];
        let may = Compactable::new(wanted, self.committed);
        for entry in wanted {
            let damaged = |what| format!("entry {} is served damaged: {what}", entry.id.index);
            let index = entry.id.index;
            if let Ok(read) = log.read_entries(index..index + 1, 1) {
                let [found] = &read[..] else { return Err(damaged("not one entry".to_owned())) };
                may.check_entry(entry, found).map_err(damaged)?;
            }
            let Some(header) = header(entry) else { continue };
            let (from, upto) = (header.base_offset, header.next_offset());
            if let Ok(slices) = log.slices(from, upto, 1, true) {
                may.check_batch(entry, &read_slices(&slices).into()).map_err(damaged)?;
            }
            if let Ok(mut headers) = log.batch_headers(from, upto)
                && let Some(Ok(found)) = headers.next()
                && found.header != header
                && (index >= self.committed || !is_same_place(&found.header, &header))
            {
                return Err(damaged("its header".to_owned()));
            }
        }
        Ok(())
    }
}

fn read_entries(log: &Log) -> Result<Vec<LogEntry>, String> {
    let mut entries: Vec<LogEntry> = Vec::new();
    let mut next = log.first_index();
    loop {
        let more = log.read_entries(next..u64::MAX, 700).map_err(|e| e.to_string())?;
        let Some(last) = more.last() else { return Ok(entries) };
        next = last.id.index + 1;
        entries.extend(more);
    }
}

fn header(entry: &LogEntry) -> Option<BatchHeader> {
    match &entry.body {
        EntryBody::Batch(bytes) => Some(BatchHeader::parse(bytes).unwrap()),
        _ => None,
    }
}

fn end_of(entries: &[LogEntry]) -> Option<Offset> {
    entries.iter().rev().find_map(header).map(|header| header.next_offset())
}

/// What a log may hold after a crash within a step.
#[derive(Clone)]
pub(super) struct Allowed {
    pub(super) before: Arc<Held>,
    pub(super) after: Arc<Held>,
    /// The step takes entries off the end.
    pub(super) truncates: bool,
}

impl Allowed {
    pub(super) fn check(&self, log: &Log) -> Result<(), String> {
        let Self { before, after, truncates } = self;
        let floor = if *truncates { before.durable.min(after.next()) } else { before.durable };
        let floor_after = if *truncates { floor } else { floor.max(after.first) };
        let snapshot = log.read_snapshot().map_err(|e| e.to_string())?;
        if snapshot != before.snapshot && snapshot != after.snapshot {
            return Err("the snapshot is neither the old nor the new one".to_owned());
        }
        let as_before = before.check(log, floor);
        if as_before.is_ok() {
            return Ok(());
        }
        let as_after = after.check(log, floor_after);
        if as_after.is_ok() && snapshot != after.snapshot {
            return Err("purged without the snapshot".to_owned());
        }
        as_after.map_err(|what| format!("before: {}; after: {what}", as_before.unwrap_err()))
    }

    /// The same after entries below `floor` were found and settled.
    pub(super) fn with_floor(&self, floor: u64) -> Self {
        let raised = |held: &Held| Arc::new(Held { durable: floor, ..held.clone() });
        Self { before: raised(&self.before), after: raised(&self.after), truncates: false }
    }

    /// The same once everything is committed.
    pub(super) fn all_committed(&self) -> Self {
        let committed = |held: &Held| Arc::new(Held { committed: held.next(), ..held.clone() });
        let (before, after) = (committed(&self.before), committed(&self.after));
        Self { before, after, truncates: self.truncates }
    }

    /// Whether the step changes where the log begins.
    pub(super) fn moves_the_start(&self) -> bool {
        let Self { before, after, .. } = self;
        (before.purged, &before.snapshot) != (after.purged, &after.snapshot)
    }

    /// What `log` serves is what it may hold, or an error; nothing of what was acknowledged is missing.
    pub(super) fn check_served(&self, log: &Log) -> Result<(), String> {
        let floor = self.before.durable.min(self.after.next());
        let next = log.last().map_or(0, |last| last.index + 1);
        if next < floor {
            return Err(format!("ends before {next}, floor {floor}"));
        }
        self.before.check_served(log).or_else(|before| {
            self.after.check_served(log).map_err(|after| format!("{before}; {after}"))
        })
    }

    /// This, but for entries that were not acknowledged.
    pub(super) fn exactly(held: &Arc<Held>) -> Self {
        Self { before: Arc::clone(held), after: Arc::clone(held), truncates: false }
    }

    /// The same for a log in which nothing unsynced was lost.
    pub(super) fn settled(held: &Held) -> Self {
        let held = Arc::new(Held { durable: held.next(), ..held.clone() });
        Self { before: Arc::clone(&held), after: held, truncates: false }
    }
}
