//! DeleteTopics, by name or (version 6) by id. Versions 1–6.
//!
//! **Invariant:** one result per topic that the request names, in its order; a topic that it names
//! twice, in whatever way, is not deleted.

use std::collections::{BTreeMap, BTreeSet};

use kafka_wire::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_wire::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use kafka_wire_core::Uuid;

use super::metadata_context::{ElementError, MetadataContext, deadline, invalid, plain, spread};
use super::wire;
use crate::metadata::{MetadataImage, TopicSelector};
use crate::model::TopicId;
use crate::protocol::ErrorCode;

/// Answers a request.
pub async fn handle(
    context: &MetadataContext,
    version: i16,
    mut body: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    if version < 6 {
        let named = |name| {
            let mut topic = DeleteTopicState::default();
            topic.name = Some(name);
            topic
        };
        body.topics = body.topic_names.drain(..).map(named).collect();
    }
    let image = context.port.image();
    let rows = sort(&image, body.topics);
    let selectors: Vec<TopicSelector> = rows.iter().filter_map(Row::selector).collect();
    let count = selectors.len();
    let answers = match deadline(body.timeout_ms) {
        _ if count == 0 => Vec::new(),
        Ok(timeout) => spread(context.port.delete_topics(selectors, timeout).await, count),
        Err(late) => vec![Err(late); count],
    };
    let mut answers = answers.into_iter();
    let mut response = DeleteTopicsResponse::default();
    for row in rows {
        let answer = match row.error {
            None => answers.next().expect("one answer per selector"),
            Some(ref error) => Err(error.clone()),
        };
        response.responses.push(row.result(answer));
    }
    response
}

/// A topic of the request, with what is known of it here.
struct Row {
    by_id: bool,
    name: Option<String>,
    id: TopicId,
    /// Why it is not even asked for.
    error: Option<ElementError>,
}

impl Row {
    fn selector(&self) -> Option<TopicSelector> {
        match (&self.error, &self.name) {
            (Some(_), _) => None,
            (None, Some(name)) if !self.by_id => Some(TopicSelector::Name(name.clone())),
            (None, _) => Some(TopicSelector::Id(self.id)),
        }
    }

    fn result(self, answer: Result<(), ElementError>) -> DeletableTopicResult {
        let mut result = DeletableTopicResult::default();
        result.error_message = None;
        result.name = wire::option(self.name);
        result.topic_id = wire::uuid(self.id);
        if let Err((code, message)) = answer {
            result.error_code = code.code();
            // Kafka's standing words where a topic is not known.
            result.error_message = Some(match code {
                ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId => {
                    wire::text(plain(code).1)
                }
                _ => message.into(),
            });
        }
        result
    }
}

/// Pairs names with ids, and tells apart what cannot be asked for (`ControllerApis.deleteTopics`).
fn sort(image: &MetadataImage, topics: Vec<DeleteTopicState>) -> Vec<Row> {
    let mut times: BTreeMap<(Option<String>, Uuid), usize> = BTreeMap::new();
    for topic in &topics {
        let key = (topic.name.as_ref().map(ToString::to_string), topic.topic_id);
        *times.entry(key).or_default() += 1;
    }
    let by_id: BTreeSet<TopicId> = topics
        .iter()
        .filter(|topic| topic.name.is_none())
        .map(|topic| wire::topic_id(topic.topic_id))
        .collect();
    let by_name: BTreeSet<TopicId> = topics
        .iter()
        .filter(|topic| topic.topic_id == Uuid::ZERO)
        .filter_map(|topic| image.topic(topic.name.as_deref()?))
        .map(|topic| topic.id)
        .collect();
    let mut rows = Vec::with_capacity(topics.len());
    for topic in topics {
        let name = topic.name.map(|name| name.to_string());
        let Some(times) = times.remove(&(name.clone(), topic.topic_id)) else {
            continue;
        };
        rows.extend(row(image, name, wire::topic_id(topic.topic_id), times, &by_id, &by_name));
    }
    rows
}

fn row(
    image: &MetadataImage,
    name: Option<String>,
    id: TopicId,
    times: usize,
    by_id: &BTreeSet<TopicId>,
    by_name: &BTreeSet<TopicId>,
) -> Option<Row> {
    let refused =
        |name, id, text: &str| Some(Row { by_id: false, name, id, error: Some(invalid(text)) });
    match name {
        None if id.is_zero() => refused(None, id, "Neither topic name nor id were specified."),
        None if times > 1 => refused(None, id, "Duplicate topic id."),
        // Answered in the row of the name.
        None if by_name.contains(&id) => None,
        None => {
            let name = image.topic_by_id(id).map(|topic| topic.name.to_string());
            Some(Row { by_id: true, name, id, error: None })
        }
        Some(_) if !id.is_zero() => {
            refused(name, id, "You may not specify both topic name and topic id.")
        }
        Some(_) if times > 1 => refused(name, id, "Duplicate topic name."),
        Some(known) => {
            let id = image.topic(&known).map_or(TopicId::ZERO, |topic| topic.id);
            let twice = !id.is_zero() && by_id.contains(&id);
            let text = "The provided topic name maps to an ID that was already supplied.";
            let error = twice.then(|| invalid(text));
            Some(Row { by_id: false, name: Some(known), id, error })
        }
    }
}

#[cfg(test)]
#[path = "delete_topics_test.rs"]
mod tests;
