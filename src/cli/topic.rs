//! `jackdaw topic`: make, list, describe, delete, delete the oldest records.
//!
//! Deliberately elsewhere: electing leaders ([`elect_leaders`]).

use std::collections::BTreeMap;

use kafka_wire::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_wire::delete_topics_request::DeleteTopicState;
use kafka_wire::{CreateTopicsRequest, DeleteTopicsRequest};
use kafka_wire_core::StrBytes;
use serde_json::json;
use tokio::time::Instant;

use super::args::{Connect, TopicCommand};
use super::client::{Client, ClientFailure, Topic, check, delete_records, list_offsets};
use super::elect_leaders;
use super::output::{Table, list, or_dash, print, print_json};

pub(super) async fn run(command: TopicCommand, connect: &Connect) -> anyhow::Result<()> {
    match command {
        TopicCommand::Create { name, partitions, replication_factor, configs } => {
            create(connect, &name, partitions, replication_factor, &configs).await
        }
        TopicCommand::List => list_topics(connect).await,
        TopicCommand::Describe { name } => describe(connect, name).await,
        TopicCommand::DeleteRecords { name, before, partition } => {
            delete_oldest(connect, &name, before, partition).await
        }
        TopicCommand::ElectLeaders { name, partition } => {
            elect_leaders::run(connect, name, partition).await
        }
        TopicCommand::Delete { name } => delete(connect, &name).await,
    }
}

async fn create(
    connect: &Connect,
    name: &str,
    partitions: Option<i32>,
    replicas: Option<i16>,
    configs: &[(String, String)],
) -> anyhow::Result<()> {
    let mut client = connect.client().await?;
    make(&mut client, name, partitions, replicas, configs).await?;
    let topic = client.topics.get(name).cloned().unwrap_or_default();
    if connect.json {
        return print_json(&json!({
            "name": name, "id": topic.id, "partitions": topic.partitions.len(),
        }));
    }
    let replicas = topic.partitions.values().next().map_or(0, |first| first.replicas.len());
    let count = topic.partitions.len();
    Ok(print(&format!("created {name}: {count} partition(s), {replicas} replica(s) each\n"))?)
}

/// Makes a topic and waits until every partition has a leader: made means usable.
///
/// # Errors
/// A refusal, or the deadline passes.
pub(super) async fn make(
    client: &mut Client,
    name: &str,
    partitions: Option<i32>,
    replicas: Option<i16>,
    configs: &[(String, String)],
) -> Result<(), ClientFailure> {
    let mut topic = CreatableTopic::default();
    topic.name = StrBytes::from(name);
    // −1 asks for the cluster's default (KIP-464).
    topic.num_partitions = partitions.unwrap_or(-1);
    topic.replication_factor = replicas.unwrap_or(-1);
    for (key, value) in configs {
        let mut config = CreatableTopicConfig::default();
        config.name = StrBytes::from(key.as_str());
        config.value = Some(StrBytes::from(value.as_str()));
        topic.configs.push(config);
    }
    let deadline = client.deadline();
    let left = deadline.saturating_duration_since(Instant::now());
    let mut request = CreateTopicsRequest::default();
    request.timeout_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
    request.topics = vec![topic];
    let answer = client.call_controller(&request, 7, deadline).await?;
    for topic in &answer.topics {
        check(topic.error_code, format!("create {name:?}"), topic.error_message.as_deref())?;
    }
    client.refresh(Some(&[name.to_owned()]), true).await
}

async fn list_topics(connect: &Connect) -> anyhow::Result<()> {
    let mut client = connect.client().await?;
    client.look(None).await?;
    if connect.json {
        let topics: Vec<_> = client
            .topics
            .iter()
            .map(|(name, topic)| {
                json!({ "name": name, "id": topic.id, "partitions": topic.partitions.len() })
            })
            .collect();
        return print_json(&topics);
    }
    let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICAS", "ID"]);
    for (name, topic) in &client.topics {
        let replicas = topic.partitions.values().next().map_or(0, |first| first.replicas.len());
        table.row([
            name.clone(),
            topic.partitions.len().to_string(),
            replicas.to_string(),
            topic.id.clone(),
        ]);
    }
    Ok(print(&table.render())?)
}

async fn describe(connect: &Connect, name: String) -> anyhow::Result<()> {
    let mut client = connect.client().await?;
    client.look(Some(std::slice::from_ref(&name))).await?;
    let topic: Topic = client.topics.get(&name).cloned().unwrap_or_default();
    let led: Vec<i32> =
        topic.partitions.iter().filter(|(_, p)| p.leader.is_some()).map(|(i, _)| *i).collect();
    let starts = list_offsets(&mut client, &name, &led, -2).await?;
    let ends = list_offsets(&mut client, &name, &led, -1).await?;
    if connect.json {
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .map(|(index, partition)| {
                json!({
                    "partition": index,
                    "leader": partition.leader,
                    "leader_epoch": partition.leader_epoch,
                    "replicas": partition.replicas,
                    "in_sync": partition.in_sync,
                    "log_start_offset": starts.get(index),
                    "high_watermark": ends.get(index),
                })
            })
            .collect();
        return print_json(&json!({ "name": name, "id": topic.id, "partitions": partitions }));
    }
    let mut table =
        Table::new(&["PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN SYNC", "FIRST", "HIGH"]);
    for (index, partition) in &topic.partitions {
        table.row([
            index.to_string(),
            or_dash(partition.leader),
            partition.leader_epoch.to_string(),
            list(&partition.replicas),
            list(&partition.in_sync),
            or_dash(starts.get(index)),
            or_dash(ends.get(index)),
        ]);
    }
    Ok(print(&format!("topic {name}, id {}\n{}", topic.id, table.render()))?)
}

async fn delete_oldest(
    connect: &Connect,
    name: &str,
    before: i64,
    partition: Option<i32>,
) -> anyhow::Result<()> {
    let mut client = connect.client().await?;
    client.look(Some(&[name.to_owned()])).await?;
    let topic = client.topics.get(name).cloned().unwrap_or_default();
    let wanted = match partition {
        Some(index) => BTreeMap::from([(index, before)]),
        None => topic.partitions.keys().map(|index| (*index, before)).collect(),
    };
    let starts = delete_records(&mut client, name, &wanted).await?;
    if connect.json {
        let row =
            |(index, start): (&i32, &i64)| json!({ "partition": index, "log_start_offset": start });
        let partitions: Vec<_> = starts.iter().map(row).collect();
        return print_json(&json!({ "name": name, "partitions": partitions }));
    }
    let mut table = Table::new(&["PARTITION", "FIRST"]);
    for (index, start) in &starts {
        table.row([index.to_string(), start.to_string()]);
    }
    Ok(print(&table.render())?)
}

async fn delete(connect: &Connect, name: &str) -> anyhow::Result<()> {
    let mut state = DeleteTopicState::default();
    state.name = Some(StrBytes::from(name));
    let mut request = DeleteTopicsRequest::default();
    request.topics = vec![state];
    request.timeout_ms = i32::try_from(connect.patience().as_millis()).unwrap_or(i32::MAX);
    let mut client = connect.client().await?;
    let deadline = client.deadline();
    let answer = client.call_controller(&request, 6, deadline).await?;
    for topic in &answer.responses {
        check(topic.error_code, format!("delete {name:?}"), topic.error_message.as_deref())?;
    }
    if connect.json {
        return print_json(&json!({ "deleted": name }));
    }
    Ok(print(&format!("deleted {name}\n"))?)
}
