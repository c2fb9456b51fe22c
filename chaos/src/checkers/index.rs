//! A history by value, made once for all checkers.

use std::collections::{BTreeSet, HashMap};

use crate::history::{Answer, History, Poll, Send};

/// Where each value was seen and who sent it.
pub(super) struct Index<'a> {
    /// The places (partition, offset) at which consumers saw a value.
    pub(super) places: HashMap<&'a str, BTreeSet<(i32, i64)>>,
    /// The send of a value.
    pub(super) sends: HashMap<&'a str, &'a Send>,
}

impl<'a> Index<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        let mut places = HashMap::<&str, BTreeSet<(i32, i64)>>::new();
        for poll in &history.polls {
            places.entry(&poll.value).or_default().insert((poll.partition, poll.offset));
        }
        let sends = history.sends.iter().map(|send| (send.value.as_str(), send)).collect();
        Self { places, sends }
    }
}

/// What leaders answered, by partition.
pub(super) fn answers(history: &History) -> HashMap<i32, Vec<&Answer>> {
    let mut partitions = HashMap::<i32, Vec<&Answer>>::new();
    for answer in &history.answers {
        partitions.entry(answer.partition).or_default().push(answer);
    }
    partitions
}

/// Each poll after the first with the one before it: of the same consumer in the same partition, since it was
/// given partitions.
pub(super) fn following(history: &History) -> impl Iterator<Item = (&Poll, &Poll)> {
    let mut last = HashMap::<(&str, u64, i32), &Poll>::new();
    history.polls.iter().filter_map(move |poll| {
        let before = last.insert((&poll.consumer, poll.assignment, poll.partition), poll)?;
        Some((before, poll))
    })
}
