//! What configs belong to, as the config APIs name it.
//!
//! **Invariant:** only resources whose configs this build keeps have a [`ConfigTarget`]; any other
//! is an invalid request that names it.

use super::metadata_context::{ElementError, invalid};
use crate::metadata::ConfigTarget;
use crate::metadata::topic_name;
use crate::model::BrokerId;
use crate::protocol::ErrorCode;

/// A topic.
pub(super) const TOPIC: i8 = 2;
/// A broker; all brokers where the name is empty.
pub(super) const BROKER: i8 = 4;

/// The target of a resource.
pub(super) fn target(kind: i8, name: &str) -> Result<ConfigTarget, ElementError> {
    match kind {
        TOPIC if name.is_empty() => Err(invalid("Default topic resources are not allowed.")),
        TOPIC => topic_name::validate(name)
            .map(|()| ConfigTarget::Topic(name.to_owned()))
            .map_err(|error| (ErrorCode::InvalidTopicException, error.to_string())),
        BROKER if name.is_empty() => Ok(ConfigTarget::Cluster),
        BROKER => name
            .parse()
            .map(|id| ConfigTarget::Broker(BrokerId(id)))
            .map_err(|_| invalid(format!("Broker id must be an integer, but it is: {name}"))),
        other => Err(invalid(format!("Unsupported resource type: {}", kind_name(other)))),
    }
}

fn kind_name(kind: i8) -> String {
    match kind {
        8 => "BROKER_LOGGER".into(),
        16 => "CLIENT_METRICS".into(),
        32 => "GROUP".into(),
        other => other.to_string(),
    }
}
