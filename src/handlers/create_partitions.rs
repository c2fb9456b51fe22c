//! CreatePartitions. Versions 0–3.
//!
//! **Invariant:** one result per name asked for, in the order of the request; a topic that is named
//! twice does not grow.

use std::collections::BTreeSet;

use kafka_wire::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use kafka_wire::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};

use super::metadata_context::{MetadataContext, deadline, invalid, spread};
use super::wire;
use crate::metadata::CreatePartitions;

/// Answers a request.
pub async fn handle(
    context: &MetadataContext,
    body: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut seen = BTreeSet::new();
    let names = body.topics.iter().map(|topic| topic.name.to_string());
    let twice: BTreeSet<String> = names.filter(|name| !seen.insert(name.clone())).collect();
    let is_single = |topic: &&CreatePartitionsTopic| !twice.contains(topic.name.as_str());
    let topics: Vec<CreatePartitions> = body.topics.iter().filter(is_single).map(wanted).collect();
    let count = topics.len();
    let answers = match deadline(body.timeout_ms) {
        _ if count == 0 => Vec::new(),
        Ok(timeout) => {
            let answers = context.port.create_partitions(topics, body.validate_only, timeout).await;
            spread(answers, count)
        }
        Err(late) => vec![Err(late); count],
    };
    let mut answers = answers.into_iter();
    let mut response = CreatePartitionsResponse::default();
    for topic in &body.topics {
        let name = topic.name.as_str();
        // Each name once, at its first place.
        if !seen.remove(name) {
            continue;
        }
        let answer = match twice.contains(name) {
            true => Err(invalid("Duplicate topic name.")),
            false => answers.next().expect("one answer per topic asked for"),
        };
        let mut result = CreatePartitionsTopicResult::default();
        result.name = wire::text(name);
        result.error_message = None;
        if let Err((code, message)) = answer {
            result.error_code = code.code();
            result.error_message = Some(message.into());
        }
        response.results.push(result);
    }
    response
}

fn wanted(topic: &CreatePartitionsTopic) -> CreatePartitions {
    let assignments = topic.assignments.as_ref();
    CreatePartitions {
        topic: topic.name.to_string(),
        count: topic.count,
        assignments: assignments
            .map(|rows| rows.iter().map(|row| wire::brokers(&row.broker_ids)).collect()),
    }
}

#[cfg(test)]
#[path = "create_partitions_test.rs"]
mod tests;
