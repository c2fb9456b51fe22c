//! The offline check and its hash.

use std::os::unix::fs::FileExt;

use super::*;
use crate::storage::{EntryId, VerifyRange, verify_log_dir};

fn fill(log: &Log) {
    let entries: Vec<_> = (0..40)
        .map(|i| if i % 9 == 0 { blank(i / 9 + 1, i) } else { batch(i / 9 + 1, i, 2, 150) })
        .collect();
    append_each(log, &entries);
    log.close().unwrap();
}

#[test]
fn replicas_with_the_same_records_have_the_same_hash() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(&open(a.path()).0);
    let options = LogOptions { roll: RollLimits { bytes: 1 << 20, ..small().roll }, ..small() };
    fill(&Log::open(b.path(), &identity(), options, &uncached(), None).unwrap().0);
    let verify = |dir: &Path, upto| {
        let report = verify_log_dir(dir, VerifyRange { upto, ..VerifyRange::default() }).unwrap();
        assert_eq!(report.problems, []);
        report
    };
    let (one, two) = (verify(a.path(), None), verify(b.path(), None));
    assert_ne!(one.segments, two.segments);
    assert_eq!((one.hash, one.hashed), (two.hash, two.hashed));
    assert_eq!(one.hashed, (Offset(0), Offset(70)));
    assert_eq!((one.entries, one.batches, one.records), (40, 35, 70));
    assert_eq!(one.last, Some(EntryId::new(5, 39)));
    let part = verify(a.path(), Some(Offset(30)));
    assert_eq!(part.hashed, (Offset(0), Offset(30)));
    assert_eq!(part.hash, verify(b.path(), Some(Offset(30))).hash);
    assert_ne!(part.hash, one.hash);
}

#[test]
fn every_flipped_byte_is_a_problem() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open(dir.path()).0);
    let paths = super::super::open::segment_paths(dir.path()).unwrap();
    for path in [&paths[0], &paths[2], &paths[paths.len() - 1]] {
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        let end = bytes.iter().rposition(|b| *b != 0).unwrap();
        for at in (0..end).step_by(7) {
            file.write_all_at(&[bytes[at] ^ 4], at as u64).unwrap();
            let report = verify_log_dir(dir.path(), VerifyRange::default()).unwrap();
            assert!(!report.problems.is_empty(), "{} {at}", path.display());
            file.write_all_at(&[bytes[at]], at as u64).unwrap();
        }
    }
}
