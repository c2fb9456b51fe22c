//! Flipped bits, cut and deleted files: one copy mends the other, and what both have lost is said.

use std::fs;

use super::*;
use crate::storage::stable::files;
use crate::storage::stable::recovery::{Bytes, recover};

type Copies = [[Bytes; 2]; 2];
type Values = HashMap<StableKey, StableValue>;

/// Stores of several lengths, each as its files and what was confirmed in it.
fn stores() -> Vec<(Copies, Values)> {
    // The first file, the change to the other, and back; at the end of a file and in its midst.
    [1, 30, 33, 90].map(store_of).into()
}

fn store_of(changes: u64) -> (Copies, Values) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), &storage(Arc::new(HastyDisk)));
    let mut values = Values::new();
    for n in 0..changes {
        let key = key((n % 4) as u8, b'v');
        store.apply([(key, number(n))]);
        store.shared.sync().unwrap();
        values.extend(number(n).map(|value| (key, value)));
    }
    (files::read(dir.path()).unwrap(), values)
}

fn each_file() -> impl Iterator<Item = (usize, usize)> {
    (0..4).map(|n| (n / 2, n % 2))
}

fn is_whole(copies: &Copies, values: &Values) -> bool {
    let state = recover(copies);
    state.found == Found::Whole && state.values == *values
}

/// Nothing is lost, or it is said. That there is nothing at all says it as well.
fn check_both(copies: &Copies, values: &Values, what: &str) {
    let state = recover(copies);
    let is_told = match state.found {
        Found::Whole => state.values == *values,
        Found::Lost | Found::Nothing => true,
    };
    assert!(is_told, "{what}: {:?}, {:?} for {values:?}", state.found, state.values);
}

#[test]
fn one_flipped_bit_anywhere_is_mended() {
    for (sound, values) in stores() {
        assert!(is_whole(&sound, &values));
        let mut mended = 0;
        for (copy, file) in each_file() {
            for at in 0..sound[copy][file].as_ref().unwrap().len() {
                let mut copies = sound.clone();
                copies[copy][file].as_mut().unwrap()[at] ^= 1 << (at % 8);
                let state = recover(&copies);
                let is_whole = state.found == Found::Whole && state.values == values;
                assert!(is_whole, "copy {copy}, file {file}, byte {at}");
                mended += state.mended[copy];
                assert_eq!(state.mended[1 - copy], 0);
            }
        }
        assert!(mended > 0, "damage is not told from a torn write");
    }
}

#[test]
fn the_same_bit_in_both_copies_is_told() {
    let mut lost = 0;
    for (sound, values) in stores() {
        for (_, file) in each_file().take(2) {
            for at in 0..sound[0][file].as_ref().unwrap().len() {
                let mut copies = sound.clone();
                for copy in &mut copies {
                    copy[file].as_mut().unwrap()[at] ^= 1 << (at % 8);
                }
                check_both(&copies, &values, &format!("file {file}, byte {at}"));
                lost += usize::from(recover(&copies).found == Found::Lost);
            }
        }
    }
    assert!(lost > 1000, "{lost}");
}

#[test]
fn cut_files_are_mended_or_told() {
    for (sound, values) in stores() {
        for (copy, file) in each_file() {
            for len in (0..sound[copy][file].as_ref().unwrap().len()).step_by(16) {
                let mut copies = sound.clone();
                copies[copy][file].as_mut().unwrap().truncate(len);
                assert!(is_whole(&copies, &values), "copy {copy}, file {file} of {len} bytes");
                copies[1 - copy][file].as_mut().unwrap().truncate(len);
                check_both(&copies, &values, &format!("file {file} of {len} bytes"));
            }
        }
    }
}

#[test]
fn lost_sectors_are_mended_or_told() {
    for (sound, values) in stores() {
        for (copy, file) in each_file() {
            for at in (0..sound[copy][file].as_ref().unwrap().len()).step_by(512) {
                let mut copies = sound.clone();
                copies[copy][file].as_mut().unwrap()[at..at + 512].fill(0);
                assert!(is_whole(&copies, &values), "copy {copy}, file {file}, sector at {at}");
                copies[copy][file].as_mut().unwrap()[at..at + 512].fill(0xA5);
                assert!(is_whole(&copies, &values), "copy {copy}, file {file}, sector at {at}");
                copies[1 - copy][file].as_mut().unwrap()[at..at + 512].fill(0xA5);
                check_both(&copies, &values, &format!("file {file}, sector at {at}"));
            }
        }
    }
}

#[test]
fn deleted_files_are_mended_or_told() {
    for (sound, values) in stores() {
        for gone in 0..16_u32 {
            let mut copies = sound.clone();
            for (n, (copy, file)) in each_file().enumerate() {
                if gone & (1 << n) != 0 {
                    copies[copy][file] = None;
                }
            }
            let has_whole_copy = gone & 0b0011 == 0 || gone & 0b1100 == 0;
            match gone {
                _ if has_whole_copy => assert!(is_whole(&copies, &values), "{gone:04b}"),
                0b1111 => assert_eq!(recover(&copies).found, Found::Nothing),
                _ => {
                    let state = recover(&copies);
                    let is_told = state.found != Found::Whole || state.values == values;
                    assert!(is_told, "{gone:04b}");
                }
            }
        }
    }
}

#[test]
fn what_is_mended_is_mended_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let storage = storage(Arc::new(HastyDisk));
    let store = open(dir.path(), &storage);
    for n in 0..40 {
        store.apply([(key(n % 4, b'v'), number(u64::from(n)))]);
        store.shared.sync().unwrap();
    }
    let values = lock(&store.shared.memory).values.clone();
    drop(store);
    fs::remove_file(dir.path().join("first.0")).unwrap();
    fs::remove_file(dir.path().join("first.1")).unwrap();
    drop(open(dir.path(), &storage));
    for name in ["second.0", "second.1"] {
        fs::write(dir.path().join(name), b"").unwrap();
    }
    assert!(is_whole(&files::read(dir.path()).unwrap(), &values));
}
