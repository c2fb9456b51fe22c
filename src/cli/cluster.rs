//! `jackdaw cluster status`: nodes, the metadata leader, and where every partition stands.
//!
//! What is wrong with partitions the nodes say, see [`health`].
//!
//! Leaders and high watermarks come over the Kafka protocol, so they are what a client sees; the
//! position of each replica and the liveness of nodes come from the nodes' admin endpoints, as far
//! as they answer.

use std::collections::BTreeMap;
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
    leads: usize,
    replicas: usize,
    metadata_applied_index: Option<u64>,
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
    let views = views(&connect.admin, &client).await;
    if views.is_empty() {
        eprintln!(
            "warning: no admin endpoint answers; name one with --admin for replica positions"
        );
    }
    let mut status = status(&mut client, &views).await?;
    status.unhealthy = health::merge(&views, &pages(&views).await);
    if connect.json { print_json(&status) } else { Ok(print(&render(&status))?) }
}

/// What each node says of itself, by id. `addresses` are asked only until one of them belongs to
/// this cluster; it names the others.
async fn views(addresses: &[String], client: &Client) -> BTreeMap<i32, ClusterView> {
    let mut found = BTreeMap::new();
    for address in addresses {
        let Ok(view) = get_json::<ClusterView>(address, "/api/v1/cluster", ADMIN_WAIT).await else {
            continue;
        };
        // The default addresses may belong to another cluster on this machine.
        if !view.nodes.iter().any(|node| client.brokers.get(&node.id) == Some(&node.kafka)) {
            continue;
        }
        let others = view.nodes.iter().filter(|node| node.id != view.node);
        let others = others.filter_map(|node| node.admin.as_deref());
        let asked =
            others.map(|admin| get_json::<ClusterView>(admin, "/api/v1/cluster", ADMIN_WAIT));
        for other in join_all(asked).await.into_iter().flatten() {
            found.insert(other.node, other);
        }
        found.insert(view.node, view);
        break;
    }
    found
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

async fn status(client: &mut Client, views: &BTreeMap<i32, ClusterView>) -> anyhow::Result<Status> {
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
    // The view with the newest term knows the leader best.
    let newest = views.values().max_by_key(|view| view.metadata.term);
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
        admin,
        alive: views.contains_key(&id),
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
    let mut text = format!(
        "cluster {}, metadata led by node {}{}\n\n",
        status.cluster,
        or_dash(status.metadata_leader),
        status.metadata_term.map(|term| format!(" (term {term})")).unwrap_or_default()
    );
    let mut nodes = Table::new(&["NODE", "KAFKA", "ADMIN", "STATE", "LEADS", "REPLICAS"]);
    for node in &status.nodes {
        nodes.row([
            node.id.to_string(),
            node.kafka.clone(),
            or_dash(node.admin.as_ref()),
            if node.alive { "up" } else { "down" }.to_owned(),
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
