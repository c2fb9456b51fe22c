//! ElectLeaders: leadership goes to the preferred replicas (KIP-183, KIP-460). Versions 0–2.
//!
//! Any node answers, not the controller alone: what it cannot do itself it has the leaders do. An unclean
//! election is never held, since a majority always has every acknowledged record: a partition
//! that is led needs none, and one that is not has nobody eligible.
//!
//! **Invariant:** one result per partition asked for, in the order of the request; where all are asked for,
//! those that need no election are left out, as Kafka leaves them out.

use std::collections::BTreeSet;

use kafka_wire::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use kafka_wire::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};
use kafka_wire_core::StrBytes;

use super::metadata_context::{ElementError, MetadataContext, deadline, described, plain};
use super::wire;
use crate::metadata::{Elections, MetadataImage};
use crate::model::{PartitionIndex, TopicId};
use crate::protocol::ErrorCode;

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

/// A partition as it was asked for: its index, and its place if it is there.
type Asked = (i32, Option<(TopicId, PartitionIndex)>);

/// Answers a request.
pub async fn handle(context: &MetadataContext, body: ElectLeadersRequest) -> ElectLeadersResponse {
    let mut response = ElectLeadersResponse::default();
    if !matches!(body.election_type, PREFERRED | UNCLEAN) {
        response.error_code = ErrorCode::InvalidRequest.code();
        return response;
    }
    let image = context.port.image();
    let all = body.topic_partitions.is_none();
    let asked: Vec<(StrBytes, Vec<Asked>)> = match body.topic_partitions {
        Some(topics) => topics.into_iter().map(|topic| named(&image, topic)).collect(),
        None => every(&image),
    };
    let places = asked.iter().flat_map(|(_, partitions)| partitions);
    let places: BTreeSet<_> = places.filter_map(|(_, place)| *place).collect();
    let elected = match (deadline(body.timeout_ms), body.election_type) {
        (Err(late), _) => Err(late),
        (Ok(_), UNCLEAN) => Ok(None),
        (Ok(timeout), _) => Ok(Some(context.port.elect_preferred(places, timeout).await)),
    };
    let outcome = |place| match &elected {
        Err(late) => Err(late.clone()),
        Ok(None) => Err(unclean(context, place)),
        Ok(Some(elections)) => preferred(elections, place),
    };
    for (topic, partitions) in asked {
        let mut entry = ReplicaElectionResult::default();
        entry.topic = topic;
        let results = partitions.into_iter().map(|(index, place)| {
            let unknown = || Err(plain(ErrorCode::UnknownTopicOrPartition));
            result(index, place.map_or_else(unknown, outcome))
        });
        let not_needed = ErrorCode::ElectionNotNeeded.code();
        let shown = |result: &PartitionResult| !(all && result.error_code == not_needed);
        entry.partition_result = results.filter(shown).collect();
        if !(all && entry.partition_result.is_empty()) {
            response.replica_election_results.push(entry);
        }
    }
    response
}

fn named(image: &MetadataImage, asked: TopicPartitions) -> (StrBytes, Vec<Asked>) {
    let topic = image.topic(asked.topic.as_str());
    let place = |index: i32| {
        let topic = topic?;
        let partition = PartitionIndex(index);
        topic.replicas(partition).map(|_| (topic.id, partition))
    };
    let partitions = asked.partitions.into_iter().map(|index| (index, place(index)));
    (wire::text(asked.topic.as_str()), partitions.collect())
}

fn every(image: &MetadataImage) -> Vec<(StrBytes, Vec<Asked>)> {
    let topics = image.topics_by_name.values();
    let asked = topics.map(|topic| {
        let indexes = (0..).zip(&topic.partitions).map(|(index, _)| index);
        let partitions = indexes.map(|index| (index, Some((topic.id, PartitionIndex(index)))));
        (wire::text(&topic.name), partitions.collect())
    });
    asked.collect()
}

fn unclean(context: &MetadataContext, (topic, index): (TopicId, PartitionIndex)) -> ElementError {
    plain(match context.port.leader_of(topic, index) {
        Some(_) => ErrorCode::ElectionNotNeeded,
        None => ErrorCode::EligibleLeadersNotAvailable,
    })
}

fn preferred(elections: &Elections, place: (TopicId, PartitionIndex)) -> Result<(), ElementError> {
    let election = elections.get(&place).expect("one outcome per partition asked for");
    election.as_ref().copied().map_err(described)
}

fn result(index: i32, outcome: Result<(), ElementError>) -> PartitionResult {
    let mut result = PartitionResult::default();
    result.partition_id = index;
    result.error_message = None;
    if let Err((code, message)) = outcome {
        result.error_code = code.code();
        result.error_message = Some(message.into());
    }
    result
}

#[cfg(test)]
#[path = "elect_leaders_test.rs"]
mod tests;
