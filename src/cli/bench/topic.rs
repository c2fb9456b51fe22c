//! The topic of a run: found, or made if that was asked for.

use super::args::Common;
use crate::cli::args::Connect;
use crate::cli::client::Client;
use crate::cli::topic::make;
use crate::protocol::ErrorCode;

/// A client that knows the topic, with a leader for each partition, and the partitions.
///
/// # Errors
/// The topic is not there and no number of partitions is given, or the cluster cannot be reached.
pub(super) async fn open(connect: &Connect, common: &Common) -> anyhow::Result<(Client, Vec<i32>)> {
    let name = std::slice::from_ref(&common.topic);
    let mut client = connect.client().await?;
    match (client.look(Some(name)).await, common.partitions) {
        (Err(failure), Some(partitions))
            if failure.code() == Some(ErrorCode::UnknownTopicOrPartition) =>
        {
            make(&mut client, &common.topic, Some(partitions), common.replication_factor, &[])
                .await?;
        }
        (found, _) => {
            found?;
            client.refresh(Some(name), false).await?;
        }
    }
    Ok(with_partitions(client, &common.topic))
}

/// As [`open`], for a topic that is there.
///
/// # Errors
/// It is not there, or the cluster cannot be reached.
pub(super) async fn find(connect: &Connect, topic: &String) -> anyhow::Result<(Client, Vec<i32>)> {
    let mut client = connect.client().await?;
    client.refresh(Some(std::slice::from_ref(topic)), false).await?;
    Ok(with_partitions(client, topic))
}

fn with_partitions(client: Client, topic: &str) -> (Client, Vec<i32>) {
    let known = client.topics.get(topic);
    let partitions = known.map(|topic| topic.partitions.keys().copied().collect());
    (client, partitions.unwrap_or_default())
}
