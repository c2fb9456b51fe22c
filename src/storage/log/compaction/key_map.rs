//! Keys and the newest offset of each, in bounded memory (Kafka's `SkimpyOffsetMap`).
//!
//! An open-addressed table of 24-byte slots: 16 bytes of the key's hash, then its offset + 1 (0: free).
//! Keys themselves are not kept. The hash (XXH3-128) is seeded anew for each map, so that nobody can
//! choose keys that collide.

use std::hash::{BuildHasher, Hasher, RandomState};

use twox_hash::XxHash3_128;

use crate::model::Offset;

const SLOT_BYTES: usize = 24;
/// Slots in use, of ten: more make searches long.
const LOAD: usize = 9;

type Slot = [u64; 3];

/// The map.
pub(super) struct KeyMap {
    slots: Vec<Slot>,
    used: usize,
    seed: u64,
}

impl KeyMap {
    /// A map for up to `keys` keys, or as many as go into `bytes_max`.
    pub(super) fn new(bytes_max: usize, keys: u64) -> Self {
        let wanted = usize::try_from(keys).unwrap_or(usize::MAX).saturating_mul(10) / LOAD;
        let count = wanted.saturating_add(2).min((bytes_max / SLOT_BYTES).max(2));
        let seed = RandomState::new().build_hasher().finish();
        Self { slots: vec![[0; 3]; count], used: 0, seed }
    }

    /// Notes a record; false if its key is not there yet and has no room.
    #[must_use]
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let (at, hash) = self.find(key);
        let known = self.slots[at][2];
        if known == 0 {
            if self.used >= self.slots.len() * LOAD / 10 {
                return false;
            }
            self.used += 1;
        }
        let newest = known.max(offset.0 as u64 + 1);
        self.slots[at] = [hash[0], hash[1], newest];
        true
    }

    /// The newest offset noted for `key`.
    pub(super) fn newest(&self, key: &[u8]) -> Option<Offset> {
        let (at, _) = self.find(key);
        self.slots[at][2].checked_sub(1).map(|offset| Offset(offset as i64))
    }

    /// The slot of `key`, or the free one that it would get: one in ten is always free.
    fn find(&self, key: &[u8]) -> (usize, [u64; 2]) {
        let hash = XxHash3_128::oneshot_with_seed(self.seed, key);
        let hash = [(hash >> 64) as u64, hash as u64];
        let count = self.slots.len();
        let mut at = (hash[0] % count as u64) as usize;
        while self.slots[at][2] != 0 && self.slots[at][..2] != hash {
            at = (at + 1) % count;
        }
        (at, hash)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn remembers_the_newest_offset_of_each_key_until_it_is_full() {
        let mut map = KeyMap::new(SLOT_BYTES * 1_000, u64::MAX);
        let mut want = HashMap::new();
        let mut refused = 0;
        for n in 0_i64..3_000 {
            let key = (n * 7 % 1_200).to_string();
            if map.put(key.as_bytes(), Offset(n)) {
                want.insert(key, n);
            } else {
                refused += 1;
            }
        }
        assert_eq!(want.len(), 900);
        assert!(refused >= 300);
        for n in 0..1_200 {
            let key = n.to_string();
            assert_eq!(map.newest(key.as_bytes()).map(|o| o.0), want.get(&key).copied());
        }
    }

    #[test]
    fn takes_no_more_than_it_may_and_no_more_than_it_needs() {
        assert_eq!(KeyMap::new(24_000, u64::MAX).slots.len(), 1_000);
        assert!(KeyMap::new(usize::MAX, 90).slots.len() < 110);
        for keys in [0, 1, 2, 9, 10, 1_000] {
            let mut map = KeyMap::new(usize::MAX, keys);
            assert!((0..keys).all(|n| map.put(&n.to_be_bytes(), Offset(0))), "{keys}");
            assert_eq!(map.newest(b"other"), None);
        }
    }
}
