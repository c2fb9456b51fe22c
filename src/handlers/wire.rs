//! Small conversions between the wire's types and ours.

use kafka_wire_core::{StrBytes, Uuid};

use crate::model::{BrokerId, TopicId};

/// A string for a response.
pub(super) fn text(text: impl AsRef<str>) -> StrBytes {
    StrBytes::from(text.as_ref())
}

/// An optional string for a response.
pub(super) fn option(value: Option<impl AsRef<str>>) -> Option<StrBytes> {
    value.map(text)
}

/// A topic id for a response.
pub(super) fn uuid(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.to_bytes())
}

/// A topic id of a request.
pub(super) fn topic_id(id: Uuid) -> TopicId {
    TopicId::from_bytes(id.to_bytes())
}

/// Broker ids of a request.
pub(super) fn brokers(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}
