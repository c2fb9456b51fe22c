//! The log against a `Vec`: appends, syncs, truncations, purges, restarts and crashes in any order.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::storage::locks::read;
use crate::storage::{Disk, EntryId};

#[derive(Clone, Debug)]
enum Step {
    /// Entries of these payload sizes; an odd one is a frame.
    Append(Vec<usize>),
    NewTerm,
    Sync,
    /// Keeps this share (of 255) of what may be cut.
    Truncate(u8),
    Purge(u8),
    Reset,
    Restart,
    Crash(Crash),
}

#[derive(Clone, Debug)]
struct Crash {
    /// Share of the unsynced bytes that stay.
    keep: u8,
    /// Sectors of the unsynced part that never reached the disk, as shares.
    unwritten: Vec<u8>,
    lose_checkpoint: bool,
    lose_indexes: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let crash =
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..3), any::<bool>(), any::<bool>())
            .prop_map(|(keep, unwritten, lose_checkpoint, lose_indexes)| {
                Step::Crash(Crash { keep, unwritten, lose_checkpoint, lose_indexes })
            });
    prop_oneof![
        8 => prop::collection::vec(0_usize..900, 1..6).prop_map(Step::Append),
        1 => Just(Step::NewTerm),
        3 => Just(Step::Sync),
        2 => any::<u8>().prop_map(Step::Truncate),
        1 => any::<u8>().prop_map(Step::Purge),
        1 => Just(Step::Reset),
        1 => Just(Step::Restart),
        2 => crash,
    ]
}

/// A crash is what `Step::Crash` makes of the files: nothing needs to reach the real disk.
struct NoSync;

impl Disk for NoSync {
    fn sync_data(&self, _: &std::fs::File) -> std::io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> std::io::Result<()> {
        Ok(())
    }

    fn sync_volume(&self, _: &std::fs::File) -> std::io::Result<()> {
        Ok(())
    }
}

struct Model {
    root: TempDir,
    dirs: u32,
    log: Log,
    storage: Storage,
    /// Index of the first of `entries`.
    first: u64,
    entries: Vec<LogEntry>,
    start: Offset,
    /// What was purged or reset to; its term.
    purged: Option<EntryId>,
    term: u64,
}

impl Model {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        // A cache that holds some entries, so that reads join cache and disk.
        let storage = Storage::new(StorageOptions {
            cache_bytes_max: 2000,
            disk: Arc::new(NoSync),
            fatal: Arc::new(|doing, error| panic!("{doing}: {error}")),
            ..StorageOptions::default()
        });
        let dir = root.path().join("0");
        let (log, _) = Log::open(&dir, &identity(), small(), &storage, None).unwrap();
        let (entries, start) = (Vec::new(), Offset::ZERO);
        Self { root, dirs: 0, log, storage, first: 0, entries, start, purged: None, term: 1 }
    }

    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Append(sizes) => self.append(sizes),
            Step::NewTerm => {
                self.term += 1;
                self.append_entries(&[blank(self.term, self.next())]);
            }
            Step::Sync => self.log.sync_blocking().unwrap(),
            Step::Truncate(share) => self.truncate(*share),
            Step::Purge(share) => self.purge(*share),
            Step::Reset => self.reset(),
            Step::Restart => {
                self.log.close().unwrap();
                let dir = self.log.dir().to_owned();
                let report = self.reopen(dir);
                assert_eq!(report.cut_bytes, 0);
            }
            Step::Crash(crash) => self.crash(crash),
        }
    }

    fn append(&mut self, sizes: &[usize]) {
        let last = self.log.last().map_or(0, |l| l.term);
        let begins = last < self.term || self.next() == 0;
        let mut entries = Vec::new();
        for (at, size) in sizes.iter().enumerate() {
            let index = self.next() + at as u64;
            entries.push(match size {
                _ if at == 0 && begins => blank(self.term, index),
                size if size % 2 == 1 => {
                    let body = EntryBody::Command(Bytes::from(vec![7; *size]));
                    LogEntry::new(self.term, index, body)
                }
                size => batch(self.term, index, 1 + (size % 3) as i32, *size),
            });
        }
        self.append_entries(&entries);
    }

    fn append_entries(&mut self, entries: &[LogEntry]) {
        let appended = self.log.append(entries).unwrap();
        let stamped = entries.iter().zip(&appended.base_offsets).map(|(e, o)| stamped(e, *o));
        self.entries.extend(stamped);
    }

    fn truncate(&mut self, share: u8) {
        let keep = self.entries.len() * usize::from(share) / 255;
        self.entries.truncate(keep);
        self.log.truncate_after(self.next().checked_sub(1)).unwrap();
    }

    fn purge(&mut self, share: u8) {
        let count = self.entries.len() * usize::from(share) / 255;
        let Some(last) = count.checked_sub(1).map(|at| self.entries[at].id) else { return };
        self.log.purge(last.index).unwrap();
        self.start = self.log.offset_of(last.index + 1).unwrap();
        self.entries.drain(..count);
        self.first = last.index + 1;
        self.purged = Some(last);
    }

    fn reset(&mut self) {
        self.term += 1;
        let last = EntryId::new(self.term, self.next() + 10);
        self.start = self.log.end_offset().advance(7);
        self.log.reset(last, self.start).unwrap();
        (self.first, self.purged) = (last.index + 1, Some(last));
        self.entries.clear();
    }

    fn reopen(&mut self, dir: PathBuf) -> Recovery {
        let (log, report) = Log::open(&dir, &identity(), small(), &self.storage, None).unwrap();
        self.log = log;
        report
    }

    /// Goes on in a copy of the folder in which unsynced bytes are missing.
    fn crash(&mut self, crash: &Crash) {
        let durable = self.log.durable_end().next_index;
        let part = self.log.parts().unwrap().pop().unwrap();
        let begin = if durable <= part.segment.head.first_index {
            part.segment.head_bytes
        } else {
            self.log.walk_to_index(&part, durable).unwrap().position
        };
        let end = read(&self.log.0.view).end.position;
        self.dirs += 1;
        let dir = self.root.path().join(self.dirs.to_string());
        copy_dir(self.log.dir(), &dir);
        let path = dir.join(part.segment.path.file_name().unwrap());
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        for share in &crash.unwritten {
            let at = begin + (end - begin) * u64::from(*share) / 255;
            let (from, to) = ((at / 512 * 512).max(begin), at / 512 * 512 + 512);
            if from < end {
                file.write_all_at(&vec![0; (to.min(end) - from) as usize], from).unwrap();
            }
        }
        let keep = begin + (end - begin) * u64::from(crash.keep) / 255;
        let len = file.metadata().unwrap().len();
        file.set_len(keep).unwrap();
        if crash.keep.is_multiple_of(2) {
            file.set_len(len).unwrap();
        }
        // One that was never synced reads as if the log were new: no durable byte depends on it.
        if crash.lose_checkpoint && durable > self.first {
            std::fs::remove_file(dir.join("checkpoint")).ok();
        }
        if crash.lose_indexes {
            for entry in std::fs::read_dir(&dir).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|e| e == "index") {
                    std::fs::remove_file(path).unwrap();
                }
            }
        }
        self.reopen(dir);
        let next = self.log.last().map_or(0, |l| l.index + 1);
        assert!(next >= durable, "{next} of {durable} durable entries are there");
        assert!(next <= self.next());
        assert_eq!(self.log.durable_end().next_index, next);
        self.entries.truncate((next - self.first) as usize);
    }

    fn check(&self) {
        let log = &self.log;
        assert_eq!(read_all(log), self.entries);
        assert_eq!((log.start_offset(), log.purged()), (self.start, self.purged));
        let last = self.entries.last().map(|e| e.id).or(self.purged);
        assert_eq!(log.last(), last);
        for entry in &self.entries {
            assert_eq!(log.term_of(entry.id.index), Some(entry.id.term));
        }
        let slices = log.slices(self.start, log.end_offset(), 1 << 30, true).unwrap();
        assert_eq!(read_slices(&slices), batch_bytes(&self.entries));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // `PROPTEST_CASES` asks for more.
        cases: ProptestConfig::default().cases.max(400),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn behaves_like_a_vec(steps in prop::collection::vec(step(), 1..30)) {
        let mut model = Model::new();
        for step in &steps {
            model.apply(step);
            model.check();
        }
    }
}
