//! The range assignor: each topic's partitions in order, cut into runs, one per member
//! (`org.apache.kafka.clients.consumer.RangeAssignor`, without racks).

use std::collections::BTreeMap;

/// What each member gets: topic → partitions.
pub(super) type Assignments = BTreeMap<String, BTreeMap<String, Vec<i32>>>;

/// Assigns `topics` (name → partition count) to `members` (id → subscribed topics).
pub(super) fn range(
    members: &BTreeMap<String, Vec<String>>,
    topics: &BTreeMap<String, usize>,
) -> Assignments {
    let mut assignments: Assignments =
        members.keys().map(|member| (member.clone(), BTreeMap::new())).collect();
    for (topic, count) in topics {
        let takers: Vec<&String> = members
            .iter()
            .filter(|(_, subscribed)| subscribed.contains(topic))
            .map(|(member, _)| member)
            .collect();
        if takers.is_empty() {
            continue;
        }
        let (each, extra) = (count / takers.len(), count % takers.len());
        let mut next = 0;
        for (index, member) in takers.into_iter().enumerate() {
            let length = each + usize::from(index < extra);
            let run: Vec<i32> = (next..next + length).map(|p| p as i32).collect();
            next += length;
            if !run.is_empty() {
                assignments.entry(member.clone()).or_default().insert(topic.clone(), run);
            }
        }
        assert_eq!(next, *count, "every partition of {topic} has one owner");
    }
    assignments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(list: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
        list.iter()
            .map(|(id, topics)| ((*id).into(), topics.iter().map(|t| (*t).into()).collect()))
            .collect()
    }

    #[test]
    fn the_first_members_take_what_does_not_divide() {
        let topics = BTreeMap::from([("t".to_owned(), 7)]);
        let got = range(&members(&[("a", &["t"]), ("b", &["t"]), ("c", &["t"])]), &topics);
        assert_eq!(got["a"]["t"], [0, 1, 2]);
        assert_eq!(got["b"]["t"], [3, 4]);
        assert_eq!(got["c"]["t"], [5, 6]);
    }

    #[test]
    fn only_subscribers_get_a_topic_and_some_members_get_none() {
        let topics = BTreeMap::from([("t".to_owned(), 1), ("u".to_owned(), 2)]);
        let got = range(&members(&[("a", &["t", "u"]), ("b", &["t"])]), &topics);
        assert_eq!(got["a"]["t"], [0]);
        assert_eq!(got["a"]["u"], [0, 1]);
        assert!(got["b"].is_empty());
    }
}
