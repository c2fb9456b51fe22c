//! A question to the leader of each partition, asked until all have answered.

use std::collections::BTreeMap;

use kafka_wire::RequestResponsePair;
use tokio::time::{Instant, sleep};

use super::cluster::{Client, RETRY_AFTER};
use super::error::{ClientFailure, check};

/// One partition's part of a response.
pub(super) struct PartitionAnswer {
    pub(super) index: i32,
    pub(super) code: i16,
    /// What was asked for, where the code is 0.
    pub(super) offset: i64,
}

/// Sends each leader of `partitions` one request for those that it leads, made by `request` from their
/// indexes and the ms that are left, and reads responses with `answers`. Asks again where that helps.
///
/// # Errors
/// A refusal, or no leader until the deadline; `what` says what was asked for.
pub(super) async fn ask_leaders<R: RequestResponsePair>(
    client: &mut Client,
    topic: &str,
    partitions: &[i32],
    (what, version_max): (&str, i16),
    request: impl Fn(&[i32], i32) -> R,
    answers: impl Fn(R::Response) -> Vec<PartitionAnswer>,
) -> Result<BTreeMap<i32, i64>, ClientFailure> {
    let deadline = client.deadline();
    let mut found = BTreeMap::new();
    loop {
        let mut failure = None;
        let mut by_leader: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for partition in partitions.iter().filter(|index| !found.contains_key(*index)) {
            match client.leader(topic, *partition) {
                Ok(leader) => by_leader.entry(leader).or_default().push(*partition),
                Err(error) => failure = Some(error),
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left_ms = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
        let requests = by_leader
            .into_iter()
            .map(|(node, partitions)| (node, request(&partitions, left_ms)))
            .collect();
        for (_, answer) in client.call_each(requests, version_max, deadline).await {
            let response = match answer {
                Ok(response) => response,
                Err(error) => {
                    failure = Some(error);
                    continue;
                }
            };
            for PartitionAnswer { index, code, offset } in answers(response) {
                match check(code, format!("{what} of {topic}-{index}"), None) {
                    Ok(()) => {
                        found.insert(index, offset);
                    }
                    Err(error) => failure = Some(error),
                }
            }
        }
        let Some(failure) = failure else { return Ok(found) };
        if !failure.is_retriable() || Instant::now() + RETRY_AFTER >= deadline {
            return Err(failure);
        }
        sleep(RETRY_AFTER).await;
        client.look(Some(&[topic.to_owned()])).await?;
    }
}
