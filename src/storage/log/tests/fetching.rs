//! Slices, headers, timestamps.

use super::*;
use crate::storage::slices_len;

/// 120 entries, every seventh a frame, over several segments.
fn filled(dir: &Path) -> (Log, Vec<LogEntry>) {
    let (log, _) = open(dir);
    let entries: Vec<_> = (0..120)
        .map(|index| match index % 7 {
            0 => blank(index / 7 + 1, index),
            _ => batch(index / 7 + 1, index, 1 + (index % 4) as i32, (index as usize * 37) % 150),
        })
        .collect();
    let want = append_each(&log, &entries);
    (log, want)
}

fn header(entry: &LogEntry) -> Option<crate::model::record_batch::BatchHeader> {
    match &entry.body {
        EntryBody::Batch(b) => Some(crate::model::record_batch::validate(b).unwrap()),
        _ => None,
    }
}

/// What `slices` must give, by the rules alone.
fn expected(all: &[LogEntry], from: i64, upto: i64, max: usize, min_one: bool) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::new();
    for entry in all {
        let Some(header) = header(entry) else { continue };
        if header.next_offset().0 <= from {
            continue;
        }
        let EntryBody::Batch(bytes) = &entry.body else { continue };
        let first = out.is_empty();
        if header.base_offset.0 >= upto || (out.len() + bytes.len() > max && !(first && min_one)) {
            break;
        }
        out.extend_from_slice(bytes);
    }
    out
}

#[test]
fn slices_hold_whole_batches_and_no_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (log, all) = filled(dir.path());
    let end = log.end_offset().0;
    for from in 0..=end {
        for upto in [from, from + 1, from + 17, end - 3, end, i64::MAX] {
            for max in [0, 100, 260, 1500, 1 << 20] {
                for min_one in [false, true] {
                    let slices = log.slices(Offset(from), Offset(upto), max, min_one).unwrap();
                    let want = if upto <= from {
                        vec![]
                    } else {
                        expected(&all, from, upto, max, min_one)
                    };
                    assert_eq!(read_slices(&slices), want, "{from} {upto} {max} {min_one}");
                    assert!(slices.iter().all(|s| !s.is_empty()));
                }
            }
        }
    }
    assert!(log.slices(Offset(end + 1), Offset(i64::MAX), 1, true).is_err());
}

#[test]
fn a_long_fetch_is_few_slices() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { roll: RollLimits { bytes: 1 << 20, ..small().roll }, ..small() };
    let (log, _) = Log::open(dir.path(), &identity(), options, &uncached(), None).unwrap();
    log.append(&[blank(1, 0)]).unwrap();
    for index in 1..1000 {
        let entry =
            if index == 500 { blank(2, index) } else { batch(1 + index / 500, index, 1, 100) };
        log.append(&[entry]).unwrap();
    }
    let slices = log.slices(Offset(3), log.end_offset(), 1 << 20, true).unwrap();
    assert_eq!(slices.len(), 2);
    assert_eq!(slices_len(&slices), (998 - 3) * 161);
}

#[test]
fn who_goes_on_is_answered_without_a_look_at_the_log() {
    const BYTES: usize = 8 << 10;
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { roll: RollLimits { bytes: 1 << 20, ..small().roll }, ..small() };
    let (log, _) = Log::open(dir.path(), &identity(), options, &uncached(), None).unwrap();
    log.append(&[blank(1, 0)]).unwrap();
    let all: Vec<_> = (1..500).map(|index| batch(1, index, 1, 100)).collect();
    let all = append_each(&log, &all);
    let fetch = |from: &mut Offset| {
        let slices = log.slices(*from, log.end_offset(), BYTES, true).unwrap();
        assert!(slices_len(&slices) <= BYTES && slices_len(&slices) > BYTES * 15 / 16);
        *from = from.advance((slices_len(&slices) / 161) as i64);
        read_slices(&slices)
    };
    let mut from = Offset(0);
    let mut found = fetch(&mut from);
    // A look at the log would meet this.
    let path = dir.path().join("00000000000000000000.log");
    let sound = std::fs::read(&path).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    let len = sound.len();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xff; len], 0).unwrap();
    let mut wrong = Vec::new();
    let before = from;
    for _ in 0..3 {
        wrong.extend(fetch(&mut from));
    }
    assert!(wrong.iter().all(|byte| *byte == 0xff));
    std::os::unix::fs::FileExt::write_all_at(&file, &sound, 0).unwrap();
    from = before;
    for _ in 0..3 {
        found.extend(fetch(&mut from));
    }
    assert_eq!(found, batch_bytes(&all)[..found.len()]);
    // Nor is a place of what was cut off taken for one.
    log.truncate_after(Some(from.0 as u64)).unwrap();
    log.append(&[blank(2, from.0 as u64 + 1), batch(2, from.0 as u64 + 2, 1, 7)]).unwrap();
    let slices = log.slices(from, log.end_offset(), BYTES, true).unwrap();
    assert_eq!(slices_len(&slices), 68);
}

#[test]
fn a_log_is_read_from_its_start_to_its_end_without_a_look_at_it() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { roll: RollLimits { bytes: 20_000, ..small().roll }, ..small() };
    let (log, _) = Log::open(dir.path(), &identity(), options, &uncached(), None).unwrap();
    log.append(&[blank(1, 0)]).unwrap();
    let entries: Vec<_> = (1..500).map(|index| batch(1, index, 1, 100)).collect();
    let bytes = batch_bytes(&append_each(&log, &entries)).len();
    let paths: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    assert!(paths.len() > 3);
    for path in paths {
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        let nonsense = vec![0xff; path.metadata().unwrap().len() as usize];
        std::os::unix::fs::FileExt::write_all_at(&file, &nonsense, 0).unwrap();
    }
    for want in [8 << 10, 19_000, 1 << 20] {
        let (mut from, mut found) = (Offset(0), 0);
        while from < log.end_offset() {
            let got = slices_len(&log.slices(from, log.end_offset(), want, true).unwrap());
            from = from.advance((got / 161) as i64);
            found += got;
        }
        assert_eq!(found, bytes);
    }
}

#[test]
fn what_does_not_fit_is_not_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions { roll: RollLimits { bytes: 1 << 20, ..small().roll }, ..small() };
    let (log, _) = Log::open(dir.path(), &identity(), options, &uncached(), None).unwrap();
    log.append(&[blank(1, 0)]).unwrap();
    append_each(&log, &(1..9).map(|index| batch(1, index, 1, 3000)).collect::<Vec<_>>());
    let fetch = |from| slices_len(&log.slices(Offset(from), log.end_offset(), 4096, true).unwrap());
    assert_eq!((fetch(0), fetch(1)), (3061, 3061));
    let path = dir.path().join("00000000000000000000.log");
    let len = path.metadata().unwrap().len();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xff; len as usize], 0).unwrap();
    assert_eq!((fetch(2), fetch(3), fetch(4)), (3061, 3061, 3061));
}

#[test]
fn headers_are_those_of_the_batches_in_range() {
    let dir = tempfile::tempdir().unwrap();
    let (log, all) = filled(dir.path());
    for (from, upto) in [(0, i64::MAX), (5, 60), (61, 62), (100, 100)] {
        let found: Vec<_> =
            log.batch_headers(Offset(from), Offset(upto)).unwrap().map(Result::unwrap).collect();
        let want: Vec<_> = all
            .iter()
            .filter_map(|e| header(e).map(|h| (h, e.id.index)))
            .filter(|(h, _)| h.next_offset().0 > from && h.base_offset.0 < upto && from < upto)
            .collect();
        assert_eq!(found.iter().map(|b| (b.header, b.index)).collect::<Vec<_>>(), want);
    }
}

#[test]
fn looks_up_by_timestamp_even_out_of_order() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    let times: Vec<i64> = (0..100).map(|i| 1000 + (i * 37) % 90 + i * 3).collect();
    log.append(&[blank(1, 0)]).unwrap();
    for (at, time) in times.iter().enumerate() {
        log.append(&[batch_at(1, at as u64 + 1, *time, 60)]).unwrap();
    }
    let check = |log: &Log, start: usize| {
        for upto in [start, start + 1, 57, 100] {
            for ask in (900..1500).step_by(7) {
                let found = log
                    .offset_for_timestamp(timestamp(ask), Offset(0), Offset(upto as i64))
                    .unwrap();
                let want = (start..upto).find(|at| times[*at] >= ask);
                let found = found.map(|(b, slice)| {
                    assert_eq!(slice.len(), b.header.size_bytes());
                    b.header.base_offset.0 as usize
                });
                assert_eq!(found, want, "{ask} {upto}");
            }
            let largest = (start..upto).map(|at| times[at]).max();
            let want = (start..upto).find(|at| Some(times[*at]) == largest);
            let found = log.max_timestamp(Offset::ZERO, Offset(upto as i64)).unwrap();
            assert_eq!(found.map(|(b, _)| b.header.base_offset.0 as usize), want, "{upto}");
        }
    };
    check(&log, 0);
    log.purge(31).unwrap();
    check(&log, 31);
    drop(log);
    check(&open(dir.path()).0, 31);
}

#[test]
fn a_slice_goes_through_a_socket_in_pieces_and_outlives_its_segment() {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let (log, all) = filled(dir.path());
    let slices = log.slices(Offset(0), log.end_offset(), 1 << 20, true).unwrap();
    log.purge(log.last().unwrap().index).unwrap();
    let (send, mut receive) = std::os::unix::net::UnixStream::pair().unwrap();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        receive.read_to_end(&mut bytes).unwrap();
        bytes
    });
    for mut slice in slices {
        while !slice.is_empty() {
            slice.send_to(&send, 77).unwrap();
        }
    }
    drop(send);
    assert_eq!(reader.join().unwrap(), batch_bytes(&all));
}
