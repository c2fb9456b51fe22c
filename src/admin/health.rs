//! How a partition fares: what is wrong with its replicas, what that comes to, and what repairs it.
//!
//! **Invariant:** fields are only ever added, as in [`view`](super::view).
//! Deliberately elsewhere: who knows these troubles (`broker`), and putting together what several
//! nodes know (`cli`).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// `GET /api/v1/partitions`: a page of them, by topic and partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionsPage {
    /// The partitions.
    pub partitions: Vec<PartitionHealth>,
    /// `after` for the next page, if this may not be the last one.
    pub next: Option<String>,
}

/// What is asked for of all partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionsAsked {
    /// Only those with something wrong.
    pub unhealthy: bool,
    /// Only those behind this one.
    pub after: Option<(String, i32)>,
    /// At most so many.
    pub limit: usize,
}

/// A partition and what is wrong with it, as far as the answering node knows: how far behind replicas are is known
/// to the leader's node, what keeps a replica from running to its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionHealth {
    /// Topic name.
    pub topic: String,
    /// Partition index.
    pub partition: i32,
    /// The node that leads it, if one does.
    pub leader: Option<i32>,
    /// Nodes that hold a replica, the preferred leader first.
    pub replicas: Vec<i32>,
    /// What it comes to.
    pub state: HealthState,
    /// Its replicas that are not as they should be.
    pub troubles: Vec<ReplicaTrouble>,
    /// What is wrong, in words; empty where nothing is.
    pub why: String,
    /// What would repair it, in words; empty where nothing is wrong.
    pub repair: String,
}

/// What the troubles of its replicas come to for a partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// It is led, and every replica has nearly everything.
    #[default]
    Healthy,
    /// It is led, and a replica is missing or behind.
    UnderReplicated,
    /// Nobody is known to lead it.
    Leaderless,
}

/// A replica that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaTrouble {
    /// Its node.
    pub node: i32,
    /// What is wrong.
    #[serde(flatten)]
    pub trouble: Trouble,
}

/// What is wrong with a replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trouble", rename_all = "snake_case")]
pub enum Trouble {
    /// Its node is not heard.
    Down {
        /// What else is known of it.
        #[serde(default)]
        absence: Absence,
    },
    /// It lacks entries of the leader's log, and is sent them.
    Behind {
        /// So many.
        entries: u64,
        /// Bytes of those that are committed, where known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bytes: Option<u64>,
        /// Whether it has said nothing at all since the leader was elected.
        #[serde(default)]
        is_mute: bool,
    },
    /// It is being opened.
    Opening,
    /// It lost its log, and has no vote until it has it back.
    Refilling {
        /// Entries that it has again, and that it needs, where known.
        progress: Option<(u64, u64)>,
    },
    /// It may have forgotten a vote, and takes no part until it has heard from all other replicas.
    Unproven,
    /// It runs, and cannot serve all of its records.
    Damaged {
        /// What was found.
        reason: String,
    },
    /// It does not run.
    Out {
        /// Why it could not be opened.
        reason: String,
    },
}

/// What is known of a node that another one does not hear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// Nobody listens at its address: its process has ended.
    Ended,
    /// It may have ended with its machine, be paused, or be cut off.
    #[default]
    Silent,
    /// It answers whoever asks for the status, and does not hear all that it has to: the network between nodes is
    /// cut.
    CutOff,
}

impl Trouble {
    fn has_vote(&self) -> bool {
        matches!(self, Self::Behind { .. } | Self::Damaged { .. })
    }
}

impl PartitionHealth {
    /// A partition with the troubles of its replicas; the state and the words are made from them.
    #[must_use]
    pub fn new(
        topic: String,
        partition: i32,
        leader: Option<i32>,
        replicas: Vec<i32>,
        troubles: Vec<ReplicaTrouble>,
    ) -> Self {
        let (state, (why, repair)) = match leader {
            None => (HealthState::Leaderless, without_leader(&replicas, &troubles)),
            Some(_) if troubles.is_empty() => (HealthState::Healthy, Default::default()),
            Some(_) => (HealthState::UnderReplicated, with_leader(&troubles)),
        };
        Self { topic, partition, leader, replicas, state, troubles, why, repair }
    }

    /// State, reason and remedy in one line, without the partition's name.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { state, why, repair, .. } = self;
        match state {
            HealthState::Healthy => state.to_string(),
            HealthState::UnderReplicated | HealthState::Leaderless => {
                format!("{state}: {why}: {repair}")
            }
        }
    }
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::UnderReplicated => "under-replicated",
            Self::Leaderless => "no leader",
        })
    }
}

/// Why nobody leads, and what to do.
fn without_leader(replicas: &[i32], troubles: &[ReplicaTrouble]) -> (String, String) {
    let voteless: Vec<_> = troubles.iter().filter(|one| !one.trouble.has_vote()).collect();
    let missing = (replicas.len() / 2 + 1).saturating_sub(replicas.len() - voteless.len());
    if missing == 0 {
        let repair = "nothing, unless it lasts: then look at the nodes' logs";
        return ("an election is under way".to_owned(), repair.to_owned());
    }
    let (mut why, mut repair) = (Vec::new(), Vec::new());
    for (absence, nodes) in absent(troubles) {
        let one = nodes.len() == 1;
        let are = match (absence, one) {
            (Absence::Ended, true) => "is on a node that is down",
            (Absence::Ended, false) => "are on nodes that are down",
            (Absence::Silent, true) => "is on a node that is not heard",
            (Absence::Silent, false) => "are on nodes that are not heard",
            (Absence::CutOff, true) => "is on a node that runs, but is cut off from others",
            (Absence::CutOff, false) => "are on nodes that run, but are cut off from others",
        };
        why.push(format!(
            "{} of {} replicas {are} ({})",
            nodes.len(),
            replicas.len(),
            list(&nodes)
        ));
        let (needed, all) = (missing.min(nodes.len()), nodes.len());
        let some = match (needed, all) {
            (_, 1) => format!("node {}", nodes[0]),
            (1, _) => "one of them".to_owned(),
            (needed, all) if needed == all => "them".to_owned(),
            (needed, _) => format!("{needed} of them"),
        };
        repair.push(match absence {
            Absence::Ended => format!("start {some}"),
            Absence::Silent => format!("get {some} to run, and the others to reach it"),
            Absence::CutOff => MEND.to_owned(),
        });
    }
    let others: Vec<_> = voteless.iter().filter(|one| !one.is_down()).collect();
    why.extend(others.iter().map(|one| one.to_string()));
    if missing > voteless.len() - others.len() {
        repair.extend(others.iter().filter_map(|one| match &one.trouble {
            Trouble::Refilling { .. } => {
                Some("restore a replica's folder from a copy, or delete the topic".to_owned())
            }
            Trouble::Out { .. } => Some(restart(one.node)),
            Trouble::Opening => Some("wait until it is open".to_owned()),
            Trouble::Unproven => Some("start every other replica's node".to_owned()),
            Trouble::Down { .. } | Trouble::Behind { .. } | Trouble::Damaged { .. } => None,
        }));
    }
    repair.dedup();
    (why.join("; "), repair.join("; "))
}

/// What the other replicas lack, and what to do.
fn with_leader(troubles: &[ReplicaTrouble]) -> (String, String) {
    let (mut why, mut repair) = (Vec::new(), Vec::new());
    for (absence, ids) in absent(troubles) {
        let one = ids.len() == 1;
        let nodes = format!("{} {}", if one { "node" } else { "nodes" }, list(&ids));
        why.push(match (absence, one) {
            (Absence::Ended, true) => format!("{nodes} is down"),
            (Absence::Ended, false) => format!("{nodes} are down"),
            (Absence::Silent, true) => format!("{nodes} is not heard"),
            (Absence::Silent, false) => format!("{nodes} are not heard"),
            (Absence::CutOff, true) => format!("{nodes} runs, but is cut off from others"),
            (Absence::CutOff, false) => format!("{nodes} run, but are cut off from others"),
        });
        repair.push(match absence {
            Absence::Ended => format!("start {nodes}"),
            Absence::Silent => format!("get {nodes} to run, and the others to reach it"),
            Absence::CutOff => MEND.to_owned(),
        });
    }
    for one in troubles.iter().filter(|one| !one.is_down()) {
        why.push(one.to_string());
        match one.trouble {
            Trouble::Out { .. } => repair.push(restart(one.node)),
            Trouble::Behind { is_mute: true, .. } => {
                repair.push(format!("nothing for a moment; then look at node {}'s log", one.node));
            }
            Trouble::Behind { .. } => repair.push(CATCH_UP.to_owned()),
            Trouble::Down { .. }
            | Trouble::Opening
            | Trouble::Refilling { .. }
            | Trouble::Unproven
            | Trouble::Damaged { .. } => {}
        }
    }
    repair.dedup();
    if repair.is_empty() {
        repair.push("nothing, it repairs itself".to_owned());
    }
    (why.join("; "), repair.join("; "))
}

/// What helps a replica that is sent what it lacks.
const CATCH_UP: &str =
    "nothing while that gets less; else raise raft.catch_up_bytes_per_s, or write less";

/// What helps where nodes run that do not hear one another.
const MEND: &str = "mend the network between the nodes";

fn restart(node: i32) -> String {
    format!("do what the reason says, then restart node {node}")
}

/// The nodes that are not heard, by what is known of them.
fn absent(troubles: &[ReplicaTrouble]) -> BTreeMap<Absence, Vec<i32>> {
    let mut nodes: BTreeMap<Absence, Vec<i32>> = BTreeMap::new();
    for one in troubles {
        if let Trouble::Down { absence } = one.trouble {
            nodes.entry(absence).or_default().push(one.node);
        }
    }
    nodes
}

fn list(nodes: &[i32]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl ReplicaTrouble {
    fn is_down(&self) -> bool {
        matches!(self.trouble, Trouble::Down { .. })
    }
}

impl fmt::Display for ReplicaTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, trouble } = self;
        match trouble {
            Trouble::Down { .. } => write!(f, "node {node} is down"),
            Trouble::Behind { is_mute: true, .. } => {
                write!(f, "the replica on node {node} has not answered its leader yet")
            }
            Trouble::Behind { entries, bytes, is_mute: false } => {
                write!(f, "node {node} is {} entries ", grouped(*entries))?;
                match bytes.filter(|bytes| *bytes > 0) {
                    Some(bytes) => write!(f, "({} bytes) behind, catching up", grouped(bytes)),
                    None => f.write_str("behind, catching up"),
                }
            }
            Trouble::Opening => write!(f, "the replica on node {node} is being opened"),
            Trouble::Refilling { progress } => {
                write!(f, "node {node} lost its log and is being refilled")?;
                match progress {
                    Some((has, needs)) => {
                        write!(f, " ({} of {} entries)", grouped(*has), grouped(*needs))
                    }
                    None => Ok(()),
                }
            }
            Trouble::Unproven => {
                write!(f, "node {node} lost its votes and waits to hear from all other replicas")
            }
            Trouble::Damaged { reason } => {
                write!(f, "the log on node {node} is damaged: {reason}")
            }
            Trouble::Out { reason } => {
                write!(f, "the replica on node {node} could not be opened: {reason}")
            }
        }
    }
}

/// A number with commas: `1,200`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(leader: Option<i32>, replicas: &[i32], troubles: &[(i32, Trouble)]) -> String {
        let trouble = |(node, trouble): &(i32, Trouble)| ReplicaTrouble {
            node: *node,
            trouble: trouble.clone(),
        };
        let troubles = troubles.iter().map(trouble).collect();
        PartitionHealth::new("t".into(), 0, leader, replicas.to_vec(), troubles).sentence()
    }

    const DOWN: Trouble = Trouble::Down { absence: Absence::Ended };
    const SILENT: Trouble = Trouble::Down { absence: Absence::Silent };
    const CUT_OFF: Trouble = Trouble::Down { absence: Absence::CutOff };

    fn out() -> Trouble {
        Trouble::Out { reason: "the log is gone".into() }
    }

    #[test]
    fn without_a_leader_it_says_who_is_missing_and_how_many_are_needed() {
        let refilling = Trouble::Refilling { progress: None };
        let three = [1, 2, 3];
        for (replicas, troubles, expected) in [
            (
                &three[..],
                vec![(2, DOWN), (3, DOWN)],
                "no leader: 2 of 3 replicas are on nodes that are down (2, 3): start one of them",
            ),
            (
                &three[..],
                vec![(1, DOWN), (2, DOWN), (3, DOWN)],
                "no leader: 3 of 3 replicas are on nodes that are down (1, 2, 3): start 2 of them",
            ),
            (
                &[2][..],
                vec![(2, DOWN)],
                "no leader: 1 of 1 replicas is on a node that is down (2): start node 2",
            ),
            (
                &[1, 2][..],
                vec![(1, DOWN), (2, DOWN)],
                "no leader: 2 of 2 replicas are on nodes that are down (1, 2): start them",
            ),
            (
                &three[..],
                vec![(1, out()), (3, DOWN)],
                "no leader: 1 of 3 replicas is on a node that is down (3); the replica on node 1 could \
                 not be opened: the log is gone: start node 3",
            ),
            (
                &[1][..],
                vec![(1, out())],
                "no leader: the replica on node 1 could not be opened: the log is gone: do what the \
                 reason says, then restart node 1",
            ),
            (
                &three[..],
                vec![(1, refilling.clone()), (2, refilling)],
                "no leader: node 1 lost its log and is being refilled; node 2 lost its log and is being \
                 refilled: restore a replica's folder from a copy, or delete the topic",
            ),
            (
                &three[..],
                vec![(3, DOWN)],
                "no leader: an election is under way: nothing, unless it lasts: then look at the nodes' \
                 logs",
            ),
            (
                &three[..],
                vec![(2, DOWN), (3, SILENT)],
                "no leader: 1 of 3 replicas is on a node that is down (2); 1 of 3 replicas is on a node \
                 that is not heard (3): start node 2; get node 3 to run, and the others to reach it",
            ),
            (
                &three[..],
                vec![(2, CUT_OFF), (3, CUT_OFF)],
                "no leader: 2 of 3 replicas are on nodes that run, but are cut off from others (2, 3): \
                 mend the network between the nodes",
            ),
        ] {
            assert_eq!(told(None, replicas, &troubles), expected);
        }
    }

    #[test]
    fn with_a_leader_it_says_what_the_others_lack() {
        let three = [1, 2, 3];
        let behind = Trouble::Behind { entries: 1_200, bytes: Some(60_000_000), is_mute: false };
        let refilling = Trouble::Refilling { progress: Some((5, 1_000_000)) };
        for (troubles, expected) in [
            (vec![], "healthy"),
            (vec![(3, DOWN)], "under-replicated: node 3 is down: start node 3"),
            (
                vec![(1, SILENT), (2, CUT_OFF)],
                "under-replicated: node 1 is not heard; node 2 runs, but is cut off from others: get \
                 node 1 to run, and the others to reach it; mend the network between the nodes",
            ),
            (
                vec![(2, behind.clone())],
                "under-replicated: node 2 is 1,200 entries (60,000,000 bytes) behind, catching up: \
                 nothing while that gets less; else raise raft.catch_up_bytes_per_s, or write less",
            ),
            (
                vec![(2, Trouble::Behind { entries: 9, bytes: None, is_mute: true })],
                "under-replicated: the replica on node 2 has not answered its leader yet: nothing for a \
                 moment; then look at node 2's log",
            ),
            (
                vec![(2, refilling), (3, DOWN)],
                "under-replicated: node 3 is down; node 2 lost its log and is being refilled (5 of \
                 1,000,000 entries): start node 3",
            ),
            (
                vec![(2, out()), (3, behind)],
                "under-replicated: the replica on node 2 could not be opened: the log is gone; node 3 \
                 is 1,200 entries (60,000,000 bytes) behind, catching up: do what the reason says, then \
                 restart node 2; nothing while that gets less; else raise raft.catch_up_bytes_per_s, or \
                 write less",
            ),
        ] {
            assert_eq!(told(Some(1), &three, &troubles), expected);
        }
    }

    #[test]
    fn programs_read_the_troubles_by_name() {
        let behind = Trouble::Behind { entries: 7, bytes: None, is_mute: false };
        let trouble = ReplicaTrouble { node: 2, trouble: behind };
        let json = serde_json::to_value(&trouble).unwrap();
        assert_eq!(
            json,
            serde_json::json!({ "node": 2, "trouble": "behind", "entries": 7, "is_mute": false })
        );
        assert_eq!(serde_json::from_value::<ReplicaTrouble>(json).unwrap(), trouble);
    }
}
