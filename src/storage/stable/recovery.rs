//! What two copies of two files amount to. Reads bytes only; decides everything.
//!
//! ```text
//! a record that is sound in ──► both copies, or one: it counts
//!                         └──► none: the first of three that applies
//!                                 a later record says that it was on disk ─► lost
//!                                 both copies hold something else there   ─► lost
//!                                 it was never confirmed                  ─► it never was
//! ```
//! A torn write leaves a sector as it was or as it was to become, so a record is whole or not there;
//! other bytes in its place are damage.
//!
//! **Invariant:** a record that was confirmed is in the result, or the result says that some are lost.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::record::{Body, RECORD_BYTES, Record, StableKey, StableValue};

/// A file's bytes; `None` where there is no file.
pub(super) type Bytes = Option<Vec<u8>>;

/// What the state was found as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing was ever written, or everything is gone.
    Nothing,
    /// Everything that was confirmed.
    Whole,
    /// Something that was confirmed is gone from both copies.
    Lost,
}

/// Where writing may go on without more ado.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clean {
    pub(super) base: u64,
    pub(super) slot: u32,
    pub(super) capacity: u32,
}

/// The state.
#[derive(Debug)]
pub(super) struct State {
    pub(super) found: Found,
    pub(super) values: HashMap<StableKey, StableValue>,
    /// The next sequence number, larger than any that is found.
    pub(super) next: u64,
    /// Everything before this sequence number is known to have been confirmed.
    pub(super) durable: u64,
    /// Which of the two files of each copy it is in.
    pub(super) file: usize,
    /// Sequence number of the first record in that file.
    pub(super) base: Option<u64>,
    /// Where the last process closed it and nothing is wrong.
    pub(super) clean: Option<Clean>,
    /// Records of each copy that were damaged or missing and were taken from the other.
    pub(super) mended: [usize; 2],
}

/// Sound records of one file, by slot.
type Records = BTreeMap<u32, Record>;

/// All that was written between two times that the state was written anew.
#[derive(Default)]
struct Generation {
    file: usize,
    copies: [Records; 2],
}

impl Generation {
    fn get(&self, slot: u32) -> Option<&Record> {
        self.copies.iter().find_map(|records| records.get(&slot))
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        self.copies.iter().flat_map(BTreeMap::values)
    }

    /// The slot behind the last sound record.
    fn end(&self) -> u32 {
        self.records().map(|record| record.slot + 1).max().unwrap_or(0)
    }

    fn head(&self) -> Option<(u32, u32)> {
        match self.get(0)?.body {
            Body::Head { entries, capacity } => Some((entries, capacity)),
            _ => None,
        }
    }

    /// Whether the state that it begins with is there.
    fn is_begun(&self) -> bool {
        let is_there = |entries| (0..=entries).all(|slot| self.get(slot).is_some());
        !self.is_superseded() && self.head().is_some_and(|(entries, _)| is_there(entries))
    }

    fn is_superseded(&self) -> bool {
        let heads = self.copies.iter().filter_map(|records| records.get(&0));
        heads.into_iter().any(|head| head.body == Body::Superseded)
    }
}

/// What the files amount to: two of each copy.
pub(super) fn recover(copies: &[[Bytes; 2]; 2]) -> State {
    let generations = sort(copies);
    let Some((mut base, mut chosen)) = generations.last_key_value() else {
        return State::nothing();
    };
    let durable = generations.values().flat_map(Generation::records).map(Record::durable).max();
    let durable = durable.unwrap_or(0);
    let next = generations.values().map(Generation::end).zip(generations.keys());
    let next = next.map(|(end, base)| base + u64::from(end)).max().unwrap_or(0);

    let mut is_lost = false;
    if !chosen.is_begun() {
        // To be written anew was begun and not finished, unless somebody went on from there.
        let entries = chosen.head().map_or(chosen.end(), |(entries, _)| entries + 1);
        is_lost = chosen.is_superseded()
            || durable > *base
            || (0..entries).any(|slot| is_damaged(copies, chosen, slot));
        match generations.range(..*base).next_back() {
            Some((before, generation)) if generation.is_begun() => {
                (base, chosen) = (before, generation);
            }
            Some(_) => is_lost = true,
            None if is_lost => {}
            None => return State { next, file: 1 - chosen.file, ..State::nothing() },
        }
    }
    let end = chosen.end();
    let known = u32::try_from(durable.saturating_sub(*base)).unwrap_or(u32::MAX);
    let holes: BTreeSet<u32> =
        (0..end.max(known.min(end + 1))).filter(|slot| chosen.get(*slot).is_none()).collect();
    is_lost |= holes.iter().any(|slot| *slot < known || is_damaged(copies, chosen, *slot));
    // What was the last record.
    is_lost |= is_damaged(copies, chosen, end);

    let mended = [0, 1].map(|copy| {
        let is_flaw = |slot: &u32| {
            let here = &chosen.copies[copy];
            let file = copies[copy][chosen.file].as_deref();
            !here.contains_key(slot)
                && chosen.get(*slot).is_some()
                && (*slot < known || is_other(file, capacity(chosen), *slot))
        };
        (0..end).filter(is_flaw).count()
    });
    let is_newest = generations.last_key_value().is_some_and(|(newest, _)| newest == base);
    let is_whole = chosen.copies.iter().all(|records| records.len() == end as usize);
    let clean = Clean { base: *base, slot: end, capacity: capacity(chosen) };
    let is_clean = !is_lost && is_newest && is_whole && is_closed(chosen, end);
    State {
        found: if is_lost { Found::Lost } else { Found::Whole },
        values: if is_lost { all_values(&generations) } else { values([chosen]) },
        next,
        durable,
        file: chosen.file,
        base: Some(*base),
        clean: is_clean.then_some(clean),
        mended,
    }
}

impl State {
    fn nothing() -> Self {
        Self {
            found: Found::Nothing,
            values: HashMap::new(),
            next: 0,
            durable: 0,
            file: 1,
            base: None,
            clean: None,
            mended: [0; 2],
        }
    }
}

/// The sound records of all files, by generation.
fn sort(copies: &[[Bytes; 2]; 2]) -> BTreeMap<u64, Generation> {
    let mut generations: BTreeMap<u64, Generation> = BTreeMap::new();
    for (copy, files) in copies.iter().enumerate() {
        for (file, bytes) in files.iter().enumerate() {
            let (slots, _) = bytes.as_deref().unwrap_or_default().as_chunks::<RECORD_BYTES>();
            for (slot, bytes) in (0..).zip(slots) {
                if let Some(record) = Record::from_bytes(bytes, slot) {
                    let generation = generations.entry(record.base()).or_default();
                    generation.file = file;
                    generation.copies[copy].insert(slot, record);
                }
            }
        }
    }
    generations
}

fn capacity(generation: &Generation) -> u32 {
    generation.head().map_or(0, |(_, capacity)| capacity)
}

/// Whether both copies hold in `slot` what nobody wrote there.
fn is_damaged(copies: &[[Bytes; 2]; 2], generation: &Generation, slot: u32) -> bool {
    let capacity = capacity(generation);
    copies.iter().all(|files| is_other(files[generation.file].as_deref(), capacity, slot))
}

/// Whether a slot is neither empty nor a sound record, of this generation or one before. A file has all
/// the slots that its head says.
fn is_other(file: Option<&[u8]>, capacity: u32, slot: u32) -> bool {
    let (slots, _) = file.unwrap_or_default().as_chunks::<RECORD_BYTES>();
    match slots.get(slot as usize) {
        None => slot < capacity,
        Some(bytes) => *bytes != [0; RECORD_BYTES] && Record::from_bytes(bytes, slot).is_none(),
    }
}

fn is_closed(generation: &Generation, end: u32) -> bool {
    let last = end.checked_sub(1).and_then(|last| generation.get(last));
    last.is_some_and(|last| last.body == Body::Closed && last.unsynced == 0)
}

fn values<'a>(
    generations: impl IntoIterator<Item = &'a Generation>,
) -> HashMap<StableKey, StableValue> {
    let mut values = HashMap::new();
    for generation in generations {
        for record in (0..generation.end()).filter_map(|slot| generation.get(slot)) {
            match record.body {
                Body::Put(key, value) => drop(values.insert(key, value)),
                Body::Remove(key) => drop(values.remove(&key)),
                Body::Head { .. } | Body::Closed | Body::Superseded => {}
            }
        }
    }
    values
}

/// The newest that is left of each key.
fn all_values(generations: &BTreeMap<u64, Generation>) -> HashMap<StableKey, StableValue> {
    values(generations.values())
}
