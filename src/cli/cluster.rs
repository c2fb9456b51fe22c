//! `jackdaw cluster status`: nodes, the metadata leader, and where every partition stands.
//!
//! What is wrong with partitions the nodes say, see [`health`].
//!
//! Leaders and high watermarks come over the Kafka protocol, so they are what a client sees; the
//! position of each replica and the liveness of nodes come from the nodes' admin endpoints, as far
//! as they answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Serialize;

use super::args::{ClusterCommand, Connect};
use super::client::{Client, get_json, list_offsets};
use super::health::{self, Pages};
use super::output::{Table, list, or_dash, print, print_json};
use crate::admin::{ClusterView, PartitionHealth, PartitionsPage, QuarantineView, ReplicaView};

/// Longest wait for one admin endpoint: a dead node must not hold up the answer.
const ADMIN_WAIT: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Status {
    cluster: String,
    /// `None` where nobody that answers hears one: what is told of others is then what was last known.
    metadata_leader: Option<i32>,
    metadata_term: Option<u64>,
    nodes: Vec<Node>,
    partitions: Vec<Partition>,
    quarantined: Vec<Quarantined>,
    /// Partitions that are not as they should be, with why and what would repair them.
    unhealthy: Vec<PartitionHealth>,
}

/// A replica that is not what it should be, with its node.
#[derive(Serialize)]
struct Quarantined {
    node: i32,
    #[serde(flatten)]
    view: QuarantineView,
}

#[derive(Serialize)]
struct Node {
    id: i32,
    kafka: String,
    admin: Option<String>,
    /// Whether its admin endpoint answered.
    alive: bool,
    state: NodeState,
    /// Nodes that answered and do not hear this one.
    unheard_by: Vec<i32>,
    leads: usize,
    replicas: usize,
    metadata_applied_index: Option<u64>,
}

/// What asking a node has shown.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum NodeState {
    /// It answered.
    Up,
    /// Nobody listens there.
    Down,
    /// It was asked, and there was no answer in time.
    NoAnswer,
    /// Its endpoint is not known.
    Unknown,
}

/// What the nodes' admin endpoints answered.
#[derive(Default)]
struct Asked {
    views: BTreeMap<i32, ClusterView>,
    /// Nodes at whose endpoint nobody listens.
    down: BTreeSet<i32>,
}

#[derive(Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    high_watermark: Option<i64>,
    positions: Vec<Replica>,
}

#[derive(Serialize)]
struct Replica {
    node: i32,
    log_start_offset: i64,
    log_end_offset: i64,
    high_watermark: i64,
    last_index: u64,
    committed_index: u64,
}

pub(super) async fn run(command: ClusterCommand, connect: &Connect) -> anyhow::Result<()> {
    let ClusterCommand::Status = command;
    let mut client = connect.client().await?;
    client.look(None).await?;
    let asked = ask(&connect.admin, &client).await;
    let views = &asked.views;
    if views.is_empty() {
        eprintln!(
            "warning: no admin endpoint answers; name one with --admin for replica positions"
        );
    }
    // Whoever was asked first may be cut off, and know of leaders what was so before.
    let leader = best_informed(views).and_then(|view| view.metadata.leader);
    if leader.is_some() && leader != client.controller {
        client.controller = leader;
        client.look(None).await?;
    }
    let mut status = status(&mut client, &asked).await?;
    status.unhealthy = health::merge(views, &asked.down, &pages(views).await);
    if connect.json { print_json(&status) } else { Ok(print(&render(&status))?) }
}

/// What each node says of itself, by id. `addresses` are asked only until one of them belongs to
/// this cluster; it names the others.
async fn ask(addresses: &[String], client: &Client) -> Asked {
    let mut found = Asked::default();
    for address in addresses {
        let Ok(view) = get_json::<ClusterView>(address, "/api/v1/cluster", ADMIN_WAIT).await else {
            continue;
        };
        // The default addresses may belong to another cluster on this machine.
        if !view.nodes.iter().any(|node| client.brokers.get(&node.id) == Some(&node.kafka)) {
            continue;
        }
        let others = view.nodes.iter().filter(|node| node.id != view.node);
        let others = others.filter_map(|node| Some((node.id, node.admin.as_deref()?)));
        let asked = others.map(async |(id, admin)| {
            (id, get_json::<ClusterView>(admin, "/api/v1/cluster", ADMIN_WAIT).await)
        });
        for (id, other) in join_all(asked).await {
            match other {
                Ok(other) => drop(found.views.insert(other.node, other)),
                Err(error) if is_refusal(&error) => drop(found.down.insert(id)),
                Err(_) => {}
            }
        }
        found.views.insert(view.node, view);
        break;
    }
    found
}

/// Whether nobody listens where an answer was to come from.
fn is_refusal(error: &anyhow::Error) -> bool {
    let errors = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    errors.into_iter().any(|cause| cause.kind() == io::ErrorKind::ConnectionRefused)
}

/// What each node finds wrong with partitions, by id.
async fn pages(views: &BTreeMap<i32, ClusterView>) -> Pages {
    let told = |view: &ClusterView| {
        let own = view.nodes.iter().find(|node| node.id == view.node)?;
        Some((view.node, own.admin.clone()?))
    };
    let asked = views.values().filter_map(told).map(async |(node, admin)| {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/api/v1/partitions?unhealthy=true{after}");
            let page = get_json::<PartitionsPage>(&admin, &path, ADMIN_WAIT).await.ok()?;
            found.extend(page.partitions);
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return Some((node, found)),
            }
        }
    });
    join_all(asked).await.into_iter().flatten().collect()
}

async fn status(client: &mut Client, asked: &Asked) -> anyhow::Result<Status> {
    let views = &asked.views;
    let mut partitions = Vec::new();
    for (topic, known) in client.topics.clone() {
        let led = known.partitions.iter().filter(|(_, p)| p.leader.is_some());
        let led: Vec<i32> = led.map(|(index, _)| *index).collect();
        // Without a majority there is no high watermark to tell, and that is part of the status.
        let ends = list_offsets(client, &topic, &led, -1).await.unwrap_or_default();
        for (index, partition) in known.partitions {
            partitions.push(Partition {
                positions: positions(views, &topic, index),
                topic: topic.clone(),
                partition: index,
                leader: partition.leader,
                leader_epoch: partition.leader_epoch,
                replicas: partition.replicas,
                high_watermark: ends.get(&index).copied(),
            });
        }
    }
    let newest = best_informed(views);
    let listed: BTreeMap<i32, (String, Option<String>)> = views
        .values()
        .flat_map(|view| &view.nodes)
        .map(|node| (node.id, (node.kafka.clone(), node.admin.clone())))
        .chain(client.brokers.iter().map(|(id, kafka)| (*id, (kafka.clone(), None))))
        .fold(BTreeMap::new(), |mut all, (id, node)| {
            all.entry(id).or_insert(node);
            all
        });
    let nodes = listed.into_iter().map(|(id, (kafka, admin))| Node {
        id,
        kafka,
        alive: views.contains_key(&id),
        state: asked.state(id, admin.as_ref()),
        unheard_by: asked.unheard_by(id),
        admin,
        leads: partitions.iter().filter(|p| p.leader == Some(id)).count(),
        replicas: partitions.iter().filter(|p| p.replicas.contains(&id)).count(),
        metadata_applied_index: views.get(&id).map(|view| view.metadata.applied_index),
    });
    Ok(Status {
        cluster: newest.map_or_else(|| client.cluster_id.clone(), |view| view.cluster.clone()),
        metadata_leader: newest.map_or(client.controller, |view| view.metadata.leader),
        metadata_term: newest.map(|view| view.metadata.term),
        nodes: nodes.collect(),
        partitions,
        quarantined: quarantined(views),
        unhealthy: Vec::new(),
    })
}

/// The view with the newest term, of those that hear a metadata leader if any does.
fn best_informed(views: &BTreeMap<i32, ClusterView>) -> Option<&ClusterView> {
    let rank = |view: &&ClusterView| (view.metadata.leader.is_some(), view.metadata.term);
    views.values().max_by_key(rank)
}

impl Asked {
    fn state(&self, node: i32, admin: Option<&String>) -> NodeState {
        match admin {
            _ if self.views.contains_key(&node) => NodeState::Up,
            _ if self.down.contains(&node) => NodeState::Down,
            Some(_) => NodeState::NoAnswer,
            None => NodeState::Unknown,
        }
    }

    fn unheard_by(&self, node: i32) -> Vec<i32> {
        let unheard =
            |view: &&ClusterView| view.nodes.iter().any(|other| other.id == node && !other.alive);
        self.views.values().filter(unheard).map(|view| view.node).collect()
    }
}

impl NodeState {
    /// The state, with who does not hear a node that answers.
    fn words(self, unheard_by: &[i32]) -> String {
        match self {
            Self::Up if !unheard_by.is_empty() => format!("up, not heard by {}", list(unheard_by)),
            Self::Up => "up".to_owned(),
            Self::Down => "down".to_owned(),
            Self::NoAnswer => "no answer".to_owned(),
            Self::Unknown => "unknown".to_owned(),
        }
    }
}

fn quarantined(views: &BTreeMap<i32, ClusterView>) -> Vec<Quarantined> {
    let of_node = |(node, view): (&i32, &ClusterView)| {
        let node = *node;
        view.quarantined.clone().into_iter().map(move |view| Quarantined { node, view })
    };
    views.iter().flat_map(of_node).collect()
}

fn positions(views: &BTreeMap<i32, ClusterView>, topic: &str, partition: i32) -> Vec<Replica> {
    let here = |replica: &&ReplicaView| replica.topic == topic && replica.partition == partition;
    views
        .iter()
        .filter_map(|(node, view)| view.replicas.iter().find(here).map(|replica| (*node, replica)))
        .map(|(node, replica)| Replica {
            node,
            log_start_offset: replica.log_start_offset,
            log_end_offset: replica.log_end_offset,
            high_watermark: replica.high_watermark,
            last_index: replica.last_index,
            committed_index: replica.committed_index,
        })
        .collect()
}

fn render(status: &Status) -> String {
    let term = status.metadata_term.map(|term| format!(" (term {term})")).unwrap_or_default();
    let mut text = match status.metadata_leader {
        Some(leader) => {
            format!("cluster {}, metadata led by node {leader}{term}\n\n", status.cluster)
        }
        None => {
            let told: Vec<i32> = status.nodes.iter().filter(|n| n.alive).map(|n| n.id).collect();
            format!(
                "cluster {}, no metadata leader is heard by who answers ({}): what follows may \
                 be out of date\n\n",
                status.cluster,
                list(&told),
            )
        }
    };
    let mut nodes = Table::new(&["NODE", "KAFKA", "ADMIN", "STATE", "LEADS", "REPLICAS"]);
    for node in &status.nodes {
        nodes.row([
            node.id.to_string(),
            node.kafka.clone(),
            or_dash(node.admin.as_ref()),
            node.state.words(&node.unheard_by),
            node.leads.to_string(),
            node.replicas.to_string(),
        ]);
    }
    text.push_str(&nodes.render());
    let mut table =
        Table::new(&["PARTITION", "LEADER", "EPOCH", "REPLICAS", "HIGH", "END BY NODE"]);
    for one in &status.partitions {
        let ends: Vec<String> =
            one.positions.iter().map(|at| format!("{}:{}", at.node, at.log_end_offset)).collect();
        table.row([
            format!("{}-{}", one.topic, one.partition),
            or_dash(one.leader),
            one.leader_epoch.to_string(),
            list(&one.replicas),
            or_dash(one.high_watermark),
            list(&ends),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render());
    for Quarantined { node, view } in &status.quarantined {
        text.push_str(&format!("\nnode {node}: {view}\n"));
    }
    text.push_str(&health::render(&status.unhealthy));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{MetadataView, NodeView};

    /// What `node` says, which hears the nodes of `heard` out of three.
    fn view(node: i32, heard: &[i32], leader: Option<i32>, term: u64) -> ClusterView {
        let nodes = (1..=3).map(|id| NodeView {
            id,
            admin: Some(format!("127.0.0.1:{id}")),
            alive: heard.contains(&id),
            ..NodeView::default()
        });
        let metadata = MetadataView { leader, term, ..MetadataView::default() };
        ClusterView { node, nodes: nodes.collect(), metadata, ..ClusterView::default() }
    }

    fn states(asked: &Asked) -> Vec<String> {
        let admin = String::new();
        let state = |id| asked.state(id, Some(&admin)).words(&asked.unheard_by(id));
        (1..=3).map(state).collect()
    }

    #[test]
    fn a_node_that_answers_is_up_whoever_does_not_hear_it() {
        let views = [view(1, &[1, 3], Some(3), 5), view(2, &[2, 3], Some(3), 5)];
        let views = views.into_iter().map(|view| (view.node, view)).collect();
        let mut asked = Asked { views, ..Asked::default() };
        assert_eq!(states(&asked), ["up, not heard by 2", "up, not heard by 1", "no answer"]);
        asked.down.insert(3);
        assert_eq!(states(&asked)[2], "down");
        assert!(asked.state(3, None) == NodeState::Down);
        assert!(Asked::default().state(3, None) == NodeState::Unknown);
    }

    #[test]
    fn who_hears_a_metadata_leader_is_believed_before_who_does_not() {
        let views = [view(1, &[1], None, 9), view(2, &[2, 3], Some(3), 5)];
        let views: BTreeMap<_, _> = views.into_iter().map(|view| (view.node, view)).collect();
        assert_eq!(best_informed(&views).map(|view| view.node), Some(2));
        let alone = BTreeMap::from([(1, views[&1].clone())]);
        assert_eq!(best_informed(&alone).map(|view| view.node), Some(1));
    }

    #[test]
    fn without_a_metadata_leader_the_status_says_that_it_may_be_old() {
        let node = |id, state| Node {
            id,
            kafka: String::new(),
            admin: None,
            alive: state == NodeState::Up,
            state,
            unheard_by: Vec::new(),
            leads: 0,
            replicas: 0,
            metadata_applied_index: None,
        };
        let mut status = Status {
            cluster: "c".into(),
            metadata_leader: None,
            metadata_term: Some(4),
            nodes: vec![node(1, NodeState::Up), node(2, NodeState::NoAnswer)],
            partitions: Vec::new(),
            quarantined: Vec::new(),
            unhealthy: Vec::new(),
        };
        let first = |status: &Status| render(status).lines().next().unwrap().to_owned();
        assert_eq!(
            first(&status),
            "cluster c, no metadata leader is heard by who answers (1): what follows may be out of date"
        );
        status.metadata_leader = Some(2);
        assert_eq!(first(&status), "cluster c, metadata led by node 2 (term 4)");
    }

    #[test]
    fn a_refusal_is_told_from_silence() {
        let refused = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(is_refusal(&anyhow::Error::from(refused).context("it cannot be read")));
        assert!(!is_refusal(&anyhow::Error::from(io::Error::from(io::ErrorKind::TimedOut))));
        assert!(!is_refusal(&anyhow::anyhow!("it did not answer in time")));
    }
}
