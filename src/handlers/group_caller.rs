//! Who sends a group request, and the small conversions that all group APIs share.

use std::sync::Arc;

use bytes::Bytes;
use kafka_wire_core::{StrBytes, Uuid};

use crate::model::TopicId;

/// A request's origin, as group requests need it.
#[derive(Clone, Debug)]
pub struct GroupCaller {
    /// Version of the request.
    pub version: i16,
    /// `client.id`, may be empty.
    pub client_id: Arc<str>,
    /// The peer as Kafka shows it: "/127.0.0.1".
    pub client_host: Arc<str>,
}

/// An owned copy of a wire string.
pub(super) fn owned(text: &StrBytes) -> Arc<str> {
    Arc::from(text.as_str())
}

/// An owned copy of an optional wire string.
pub(super) fn owned_option(text: Option<&StrBytes>) -> Option<Arc<str>> {
    text.map(owned)
}

/// A copy that does not hold the frame it was cut from.
pub(super) fn owned_bytes(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

/// A wire string.
pub(super) fn wire(text: &str) -> StrBytes {
    StrBytes::from(text)
}

/// An optional wire string.
pub(super) fn wire_option(text: Option<&Arc<str>>) -> Option<StrBytes> {
    text.map(|text| wire(text))
}

/// A topic id on the wire.
pub(super) fn wire_id(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.to_bytes())
}

/// A topic id off the wire.
pub(super) fn topic_id(id: Uuid) -> TopicId {
    TopicId::from_bytes(id.to_bytes())
}
