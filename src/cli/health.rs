//! What is wrong with partitions, put together from what each node knows.
//!
//! A partition's leader knows best how the other replicas fare, and each node what keeps its own from
//! running; without a leader every node is believed. Who answers the one that asks is not down, whoever else
//! does not hear it; and who is not heard is down where nobody listens.

use std::collections::{BTreeMap, BTreeSet};

use crate::admin::{Absence, ClusterView, HealthState, PartitionHealth, ReplicaTrouble, Trouble};

/// What each node finds wrong, by its id.
pub(super) type Pages = BTreeMap<i32, Vec<PartitionHealth>>;

/// Partitions that are named where many share a sentence.
const NAMES_MAX: usize = 5;

type Key<'a> = (&'a str, i32);

/// The partitions with something wrong, by topic and partition.
pub(super) fn merge(
    views: &BTreeMap<i32, ClusterView>,
    down: &BTreeSet<i32>,
    pages: &Pages,
) -> Vec<PartitionHealth> {
    let leaders = leaders(views);
    let mut told: BTreeMap<Key<'_>, Vec<(i32, &PartitionHealth)>> = BTreeMap::new();
    for (node, page) in pages {
        for one in page {
            told.entry((&one.topic, one.partition)).or_default().push((*node, one));
        }
    }
    let merged = told.into_iter().map(|(key, told)| {
        let leader = leaders.get(&key).copied();
        let has_told = leader.is_some_and(|leader| pages.contains_key(&leader));
        let mut troubles = troubles(leader.filter(|_| has_told), &told);
        for ReplicaTrouble { node, trouble } in &mut troubles {
            let view = views.get(node);
            // It cannot know of a topic that was made since.
            let hears_no_leader = view.is_some_and(|view| view.metadata.leader.is_none());
            match trouble {
                Trouble::Down { absence } if view.is_some() => *absence = Absence::CutOff,
                Trouble::Down { absence } if down.contains(node) => *absence = Absence::Ended,
                Trouble::Behind { is_mute: true, .. } if hears_no_leader => {
                    *trouble = Trouble::Down { absence: Absence::CutOff };
                }
                _ => {}
            }
        }
        let replicas = told[0].1.replicas.clone();
        PartitionHealth::new(key.0.to_owned(), key.1, leader, replicas, troubles)
    });
    merged.filter(|one| one.state != HealthState::Healthy).collect()
}

/// The leader of each partition in the newest term that any node knows of.
fn leaders(views: &BTreeMap<i32, ClusterView>) -> BTreeMap<Key<'_>, i32> {
    let mut newest: BTreeMap<Key<'_>, (u64, i32)> = BTreeMap::new();
    for topic in views.values().flat_map(|view| &view.topics) {
        for partition in &topic.partitions {
            let Some(leader) = partition.leader else { continue };
            let known = newest.entry((&topic.name, partition.partition)).or_default();
            *known = (*known).max((partition.term, leader));
        }
    }
    newest.into_iter().map(|(key, (_, leader))| (key, leader)).collect()
}

/// By node of the replica: its own word first, then the leader's, then anybody's. `leader` is one that
/// has told what it finds wrong.
fn troubles(leader: Option<i32>, told: &[(i32, &PartitionHealth)]) -> Vec<ReplicaTrouble> {
    let mut found: BTreeMap<i32, (u8, &Trouble)> = BTreeMap::new();
    for (teller, one) in told {
        for ReplicaTrouble { node, trouble } in &one.troubles {
            let rank = match leader {
                _ if teller == node => 2,
                Some(leader) if *teller == leader => 1,
                Some(_) => continue,
                None => 0,
            };
            let known = found.entry(*node).or_insert((rank, trouble));
            if rank > known.0 {
                *known = (rank, trouble);
            }
        }
    }
    let trouble = |(node, (_, trouble)): (i32, (u8, &Trouble))| ReplicaTrouble {
        node,
        trouble: trouble.clone(),
    };
    found.into_iter().map(trouble).collect()
}

/// A line per sentence, with the partitions that it is said of.
pub(super) fn render(unhealthy: &[PartitionHealth]) -> String {
    let mut said: BTreeMap<(bool, String), Vec<String>> = BTreeMap::new();
    for one in unhealthy {
        let is_led = one.state != HealthState::Leaderless;
        let name = format!("{}-{}", one.topic, one.partition);
        said.entry((is_led, one.sentence())).or_default().push(name);
    }
    let mut text = String::new();
    for ((_, sentence), names) in said {
        let more = match names.len().saturating_sub(NAMES_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = names[..names.len().min(NAMES_MAX)].join(", ");
        text.push_str(&format!("\n{names}{more}: {sentence}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::admin::{PartitionView, TopicView};

    use super::*;

    const DOWN: Trouble = Trouble::Down { absence: Absence::Ended };

    fn view(leader: Option<i32>, term: u64) -> ClusterView {
        let partition = PartitionView { leader, term, ..PartitionView::default() };
        let topic =
            TopicView { name: "t".into(), partitions: vec![partition], ..TopicView::default() };
        ClusterView { topics: vec![topic], ..ClusterView::default() }
    }

    fn health(leader: Option<i32>, troubles: &[(i32, Trouble)]) -> Vec<PartitionHealth> {
        let trouble = |(node, trouble): &(i32, Trouble)| ReplicaTrouble {
            node: *node,
            trouble: trouble.clone(),
        };
        let troubles = troubles.iter().map(trouble).collect();
        vec![PartitionHealth::new("t".into(), 0, leader, vec![1, 2, 3], troubles)]
    }

    fn sentences(views: &BTreeMap<i32, ClusterView>, pages: &Pages) -> Vec<String> {
        merge(views, &BTreeSet::new(), pages).iter().map(PartitionHealth::sentence).collect()
    }

    #[test]
    fn the_leader_and_each_node_of_its_own_replica_are_believed() {
        let views =
            BTreeMap::from([(1, view(Some(1), 4)), (2, view(None, 0)), (3, view(Some(1), 4))]);
        let cut_off = health(None, &[(1, DOWN), (3, DOWN)]);
        let behind = Trouble::Behind { entries: 3_000, bytes: None, is_mute: false };
        let out = Trouble::Out { reason: "no space".into() };
        let mut pages = Pages::from([
            (1, health(Some(1), &[(2, DOWN), (3, behind)])),
            (2, cut_off.clone()),
            (3, health(Some(1), &[(3, out)])),
        ]);
        let expected = "under-replicated: node 2 runs, but is cut off from others; the replica on \
                        node 3 could not be opened: no space: mend the network between the nodes; do \
                        what the reason says, then restart node 3";
        assert_eq!(sentences(&views, &pages), [expected]);
        let without_2 = views.clone().into_iter().filter(|(node, _)| *node != 2).collect();
        assert!(sentences(&without_2, &pages)[0].contains("node 2 is down"), "it does not answer");
        // What a node believes that is cut off counts for nothing beside a leader without a complaint.
        pages = Pages::from([(1, Vec::new()), (2, cut_off), (3, Vec::new())]);
        assert_eq!(sentences(&views, &pages), [""; 0]);
    }

    #[test]
    fn what_asking_the_nodes_has_shown_is_believed_before_what_others_say_of_them() {
        let mut views = BTreeMap::from([(1, view(Some(1), 4)), (2, view(None, 0))]);
        let mute = Trouble::Behind { entries: 9, bytes: None, is_mute: true };
        let silent = Trouble::Down { absence: Absence::Silent };
        let pages = Pages::from([(1, health(Some(1), &[(2, mute), (3, silent)])), (2, Vec::new())]);
        let said = |views: &BTreeMap<i32, ClusterView>, down: &[i32]| {
            let down = down.iter().copied().collect();
            merge(views, &down, &pages).iter().map(PartitionHealth::sentence).collect::<String>()
        };
        // A node that hears no metadata leader knows no topic that was made since.
        assert_eq!(
            said(&views, &[3]),
            "under-replicated: node 3 is down; node 2 runs, but is cut off from others: start node 3; \
             mend the network between the nodes"
        );
        views.get_mut(&2).unwrap().metadata.leader = Some(1);
        assert_eq!(
            said(&views, &[]),
            "under-replicated: node 3 is not heard; the replica on node 2 has not answered its leader \
             yet: get node 3 to run, and the others to reach it; nothing for a moment; then look at node \
             2's log"
        );
    }

    #[test]
    fn without_a_leader_everybody_is_believed() {
        let views = BTreeMap::from([(1, view(None, 0))]);
        let pages = Pages::from([(1, health(None, &[(2, DOWN), (3, DOWN)]))]);
        let expected =
            "no leader: 2 of 3 replicas are on nodes that are down (2, 3): start one of them";
        assert_eq!(sentences(&views, &pages), [expected]);
    }

    #[test]
    fn partitions_with_the_same_trouble_share_a_line() {
        let down: Vec<_> = (0..7)
            .map(|partition| PartitionHealth {
                partition,
                ..health(Some(1), &[(3, DOWN)]).remove(0)
            })
            .collect();
        let text = "\nt-0, t-1, t-2, t-3, t-4 and 2 more: under-replicated: node 3 is down: start node 3\n";
        assert_eq!(render(&down), text);
        let mut both = down[..1].to_vec();
        both.extend(health(None, &[(2, DOWN), (3, DOWN)]));
        assert!(render(&both).starts_with("\nt-0: no leader"), "the worse first");
        assert_eq!(render(&[]), "");
    }
}
