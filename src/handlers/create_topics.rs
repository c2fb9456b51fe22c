//! CreateTopics. Versions 2–7.
//!
//! **Invariant:** one result per name asked for, in the order of the request; a name that is asked
//! for twice is created not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kafka_wire::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_wire::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};

use super::metadata_context::{
    ElementError, MetadataContext, deadline, described, invalid, spread,
};
use super::wire;
use crate::metadata::configs::TOPIC_CONFIGS;
use crate::metadata::topic_name::CLUSTER_METADATA;
use crate::metadata::{CreateTopic, Refusal, TopicImage};
use crate::model::PartitionIndex;

/// First version whose results tell of partitions, replicas and configs (KIP-525).
const DETAILS_FROM: i16 = 5;

/// What one name comes to.
type Created = Result<Arc<TopicImage>, ElementError>;

/// Answers a request.
pub async fn handle(
    context: &MetadataContext,
    version: i16,
    body: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let names: Vec<String> = body.topics.iter().map(|topic| topic.name.to_string()).collect();
    let mut results = create(context, body).await;
    let mut response = CreateTopicsResponse::default();
    for name in names {
        // A name that comes again has its result already.
        if let Some(created) = results.remove(&name) {
            response.topics.push(result(context, version, &name, created));
        }
    }
    response
}

/// The outcome by name.
async fn create(context: &MetadataContext, body: CreateTopicsRequest) -> BTreeMap<String, Created> {
    let mut results = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for topic in &body.topics {
        if !seen.insert(topic.name.as_str()) {
            results.insert(topic.name.to_string(), Err(invalid("Duplicate topic name.")));
        } else if topic.name.as_str() == CLUSTER_METADATA {
            let refusal = Refusal::TopicReserved(CLUSTER_METADATA.into());
            results.insert(CLUSTER_METADATA.into(), Err(described(&refusal)));
        }
    }
    let rest = body.topics.iter().filter(|topic| !results.contains_key(topic.name.as_str()));
    let topics: Vec<CreateTopic> = rest.map(wanted).collect();
    let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
    let answers = match deadline(body.timeout_ms) {
        _ if topics.is_empty() => Vec::new(),
        Ok(timeout) => {
            let answers = context.port.create_topics(topics, body.validate_only, timeout).await;
            spread(answers, names.len())
        }
        Err(late) => names.iter().map(|_| Err(late.clone())).collect(),
    };
    results.extend(names.into_iter().zip(answers));
    results
}

fn wanted(topic: &CreatableTopic) -> CreateTopic {
    let assignments = topic.assignments.iter();
    let configs = topic.configs.iter();
    CreateTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments
            .map(|row| (PartitionIndex(row.partition_index), wire::brokers(&row.broker_ids)))
            .collect(),
        configs: configs
            .map(|config| (config.name.to_string(), config.value.as_ref().map(ToString::to_string)))
            .collect(),
    }
}

fn result(
    context: &MetadataContext,
    version: i16,
    name: &str,
    created: Created,
) -> CreatableTopicResult {
    let mut result = CreatableTopicResult::default();
    result.name = wire::text(name);
    result.error_message = None;
    match created {
        Ok(topic) => {
            result.topic_id = wire::uuid(topic.id);
            if version >= DETAILS_FROM {
                result.num_partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                result.replication_factor =
                    i16::try_from(topic.replication_factor()).unwrap_or(i16::MAX);
                result.configs = Some(configs(context, &topic));
            }
        }
        Err((code, message)) => {
            result.error_code = code.code();
            result.error_message = Some(message.into());
        }
    }
    result
}

/// All configs in force on the new topic, by name.
fn configs(context: &MetadataContext, topic: &TopicImage) -> Vec<CreatableTopicConfigs> {
    let image = context.port.image();
    let layers = context.layers(&image);
    let entry = |def| {
        let resolved = layers.topic_config(def, &topic.configs);
        let mut entry = CreatableTopicConfigs::default();
        entry.name = wire::text(def.name);
        entry.value = wire::option(resolved.value);
        entry.config_source = resolved.source as i8;
        entry
    };
    TOPIC_CONFIGS.iter().map(entry).collect()
}

#[cfg(test)]
#[path = "create_topics_test.rs"]
mod tests;
