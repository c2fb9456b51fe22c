//! The encoder against `kafka-wire`'s, byte for byte, for every version.

use bytes::Bytes;
use kafka_wire::fetch_response as wire;
use kafka_wire_core::{ApiVersion, KafkaEncode};
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = StrBytes> {
    "[a-zü.]{0,200}".prop_map(StrBytes::from)
}

prop_compose! {
    fn partition()(
        numbers in any::<(i32, i16, i64, i64, i64, i32)>(),
        diverging_epoch in prop::option::of((-1_i32..5, -1_i64..5)),
        current_leader in prop::option::of((-1_i32..5, -1_i32..5)),
        aborted_transactions in prop::option::of(prop::collection::vec(any::<(i64, i64)>(), 0..4)),
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..4),
    ) -> FetchPartition<Bytes> {
        FetchPartition {
            partition_index: numbers.0,
            error_code: numbers.1,
            high_watermark: numbers.2,
            last_stable_offset: numbers.3,
            log_start_offset: numbers.4,
            diverging_epoch,
            current_leader,
            aborted_transactions,
            preferred_read_replica: numbers.5,
            records: records.into_iter().map(Bytes::from).collect(),
        }
    }
}

prop_compose! {
    fn topic()(
        name in text(),
        id in any::<[u8; 16]>(),
        partitions in prop::collection::vec(partition(), 0..4),
    ) -> FetchTopic<Bytes> {
        FetchTopic { name, id: Uuid::from_bytes(id), partitions }
    }
}

prop_compose! {
    fn response()(
        (throttle_time_ms, error_code, session_id) in any::<(i32, i16, i32)>(),
        topics in prop::collection::vec(topic(), 0..4),
        endpoints in prop::collection::vec(
            (any::<i32>(), text(), any::<i32>(), prop::option::of(text())), 0..3),
    ) -> FetchResponse<Bytes> {
        let node_endpoints = endpoints
            .into_iter()
            .map(|(node_id, host, port, rack)| NodeEndpoint { node_id, host, port, rack })
            .collect();
        FetchResponse { throttle_time_ms, error_code, session_id, topics, node_endpoints }
    }
}

/// The same response as `kafka-wire` has it, without what `version` cannot express.
fn oracle(response: &FetchResponse<Bytes>, version: i16) -> wire::FetchResponse {
    let mut out = wire::FetchResponse::default();
    out.throttle_time_ms = response.throttle_time_ms;
    if version >= 7 {
        (out.error_code, out.session_id) = (response.error_code, response.session_id);
    }
    out.responses = response.topics.iter().map(|topic| oracle_topic(topic, version)).collect();
    if version >= 16 {
        for endpoint in &response.node_endpoints {
            let mut node = wire::NodeEndpoint::default();
            node.node_id = endpoint.node_id;
            node.host = endpoint.host.clone();
            node.port = endpoint.port;
            node.rack = endpoint.rack.clone();
            out.node_endpoints.push(node);
        }
    }
    out
}

fn oracle_topic(topic: &FetchTopic<Bytes>, version: i16) -> wire::FetchableTopicResponse {
    let mut out = wire::FetchableTopicResponse::default();
    out.topic = topic.name.clone();
    out.topic_id = topic.id;
    for from in &topic.partitions {
        let mut to = wire::PartitionData::default();
        to.partition_index = from.partition_index;
        to.error_code = from.error_code;
        to.high_watermark = from.high_watermark;
        to.last_stable_offset = from.last_stable_offset;
        to.log_start_offset = from.log_start_offset;
        if version >= 11 {
            to.preferred_read_replica = from.preferred_read_replica;
        }
        if version >= 12 {
            if let Some((epoch, end_offset)) = from.diverging_epoch {
                (to.diverging_epoch.epoch, to.diverging_epoch.end_offset) = (epoch, end_offset);
            }
            if let Some((id, epoch)) = from.current_leader {
                (to.current_leader.leader_id, to.current_leader.leader_epoch) = (id, epoch);
            }
        }
        to.aborted_transactions = from.aborted_transactions.as_ref().map(|aborted| {
            let entry = |&(producer_id, first_offset): &(i64, i64)| {
                let mut entry = wire::AbortedTransaction::default();
                (entry.producer_id, entry.first_offset) = (producer_id, first_offset);
                entry
            };
            aborted.iter().map(entry).collect()
        });
        to.records = Some(Bytes::from(from.records.concat()));
        out.partitions.push(to);
    }
    out
}

proptest! {
    #[test]
    fn equals_the_oracle_in_every_version(response in response()) {
        for version in ApiKey::Fetch.api().accepted.min..=ApiKey::Fetch.api().accepted.max {
            let expected = oracle(&response, version);
            let expected = expected.encode_to_bytes(ApiVersion::new(version)).unwrap();
            let frame = response.clone().encode(version, 7).unwrap();
            let mut bytes = Vec::new();
            for piece in frame.pieces() {
                let (Piece::Bytes(part) | Piece::Records(part)) = piece;
                prop_assert!(!part.is_empty());
                bytes.extend_from_slice(part);
            }
            prop_assert_eq!(bytes.len(), frame.bytes());
            prop_assert_eq!(&bytes[..4], &(bytes.len() as i32 - 4).to_be_bytes()[..]);
            let header = if version >= 12 { 9 } else { 8 };
            prop_assert_eq!(&bytes[header..], &expected[..], "version {}", version);
        }
    }
}

#[test]
fn records_are_pieces_of_their_own() {
    let records = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    let partitions = vec![
        FetchPartition::default(),
        FetchPartition { records, ..FetchPartition::default() },
        FetchPartition::default(),
    ];
    let topic = FetchTopic { name: StrBytes::from("t"), id: Uuid::ZERO, partitions };
    let response = FetchResponse { topics: vec![topic], ..FetchResponse::default() };
    let frame = response.encode(18, 1).unwrap();
    let kinds: Vec<_> = frame.pieces().iter().map(|p| matches!(p, Piece::Records(_))).collect();
    assert_eq!(kinds, [false, true, true, false]);
}
