//! Topics, made and deleted over the Kafka protocol.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::client_config;

/// CreateTopics answers after the metadata group has committed; ten seconds outlast an election.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a topic.
///
/// # Errors
/// No broker answers in time, or the cluster refuses.
pub fn create_topic(bootstrap: &str, name: &str, partitions: i32, replicas: i32) -> Result<()> {
    create_topic_with(bootstrap, name, partitions, replicas, &[])
}

/// Makes a topic with configs of its own.
///
/// # Errors
/// As [`create_topic`].
pub fn create_topic_with(
    bootstrap: &str,
    name: &str,
    partitions: i32,
    replicas: i32,
    configs: &[(&str, &str)],
) -> Result<()> {
    let (client, options) = admin(bootstrap)?;
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
    topic.config = configs.to_vec();
    let results = wait(client.create_topics(&[topic], &options))?;
    for result in results.with_context(|| format!("creating topic {name}"))? {
        result.map_err(|(topic, code)| anyhow!("creating topic {topic}: {code}"))?;
    }
    Ok(())
}

/// Deletes a topic.
///
/// # Errors
/// No broker answers in time, or the cluster refuses.
pub fn delete_topic(bootstrap: &str, name: &str) -> Result<()> {
    let (client, options) = admin(bootstrap)?;
    let results = wait(client.delete_topics(&[name], &options))?;
    for result in results.with_context(|| format!("deleting topic {name}"))? {
        result.map_err(|(topic, code)| anyhow!("deleting topic {topic}: {code}"))?;
    }
    Ok(())
}

fn admin(bootstrap: &str) -> Result<(AdminClient<DefaultClientContext>, AdminOptions)> {
    let client = client_config(bootstrap).create().context("making an admin client")?;
    let options =
        AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
    Ok((client, options))
}

fn wait<T>(future: impl Future<Output = T>) -> Result<T> {
    // The client has its own threads; this only waits for what they answer.
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}
