//! A consumer never reads a partition backwards, until it is given partitions anew.

use super::Finding;
use super::index::following;
use crate::history::History;

pub(super) fn check(history: &History) -> Option<Finding> {
    let back = following(history).filter(|(before, poll)| poll.offset <= before.offset);
    let cases = back.map(|(before, poll)| {
        format!(
            "{} read {}@{} and then @{}",
            poll.consumer, poll.partition, before.offset, poll.offset
        )
    });
    Finding::broken("nonmonotonic_poll", cases.collect())
}

#[cfg(test)]
mod tests {
    use super::super::sample::{history, polled_by};
    use super::*;

    #[test]
    fn reading_again_what_was_read_is_found() {
        let finding = check(&history([4, 5, 5, 3].map(|offset| polled_by("c", 1, offset))));
        assert_eq!(finding.unwrap().examples, ["c read 0@5 and then @5", "c read 0@5 and then @3"]);
    }

    #[test]
    fn others_and_the_next_assignment_begin_where_they_like() {
        let events = [polled_by("c", 1, 4), polled_by("d", 1, 2), polled_by("c", 2, 3)];
        assert_eq!(check(&history(events)), None);
    }
}
