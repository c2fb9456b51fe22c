//! What can go wrong between the command line and a cluster, and what to do about it.

use std::time::Duration;

use crate::protocol::ErrorCode;
use crate::protocol::client::ClientError;

/// A failed exchange with the cluster.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientFailure {
    /// No address answered.
    #[error("no broker can be reached: {}", tried.join(", "))]
    Unreachable {
        /// Each address with what happened there.
        tried: Vec<String>,
    },
    /// A connection broke while a request was under way.
    #[error("the connection to {address} broke while waiting for {api}: {source}")]
    Broken {
        /// The broker.
        address: String,
        /// Name of the API.
        api: &'static str,
        /// What the socket says.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("{what}: no answer within {} ms", after.as_millis())]
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
    },
    /// The broker answered with an error.
    #[error("{what}: {}{}", name(*code), detail.as_deref().map(|d| format!(": {d}")).unwrap_or_default())]
    Refused {
        /// What was asked.
        what: String,
        /// Kafka's error code.
        code: i16,
        /// The broker's own words.
        detail: Option<String>,
    },
    /// A partition has no leader, or metadata does not know it.
    #[error("{topic}-{partition} has no leader")]
    NoLeader {
        /// Topic name.
        topic: String,
        /// Partition index.
        partition: i32,
    },
    /// The other side does not speak the protocol that is expected.
    #[error("{address} does not answer as a Kafka broker: {source}")]
    Protocol {
        /// The broker.
        address: String,
        /// What is wrong with its bytes.
        source: ClientError,
    },
}

fn name(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| format!("error {code}"), |known| known.to_string())
}

/// `Ok` for code 0, a refusal of `what` otherwise.
///
/// # Errors
/// [`ClientFailure::Refused`].
pub(crate) fn check(
    code: i16,
    what: impl Into<String>,
    detail: Option<&str>,
) -> Result<(), ClientFailure> {
    if code == ErrorCode::None.code() {
        return Ok(());
    }
    let known = ErrorCode::from_code(code).map(|known| known.message().to_owned());
    let detail = detail.map(str::to_owned).or(known);
    Err(ClientFailure::Refused { what: what.into(), code, detail })
}

impl ClientFailure {
    /// Kafka's error code, if a broker refused.
    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => ErrorCode::from_code(*code),
            _ => None,
        }
    }

    /// Whether the same request may succeed a moment later, perhaps at another node.
    pub(crate) fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Broken { .. } | Self::NoLeader { .. } => true,
            Self::TimedOut { .. } => true,
            Self::Refused { code, .. } => {
                ErrorCode::from_code(*code).is_some_and(ErrorCode::is_retriable)
            }
            Self::Protocol { .. } => false,
        }
    }

    /// What to do next, a sentence.
    pub(crate) fn hint(&self) -> String {
        let fixed = match self {
            Self::Unreachable { .. } => {
                "start a broker with `jackdaw serve` or `make cluster`, or name one with --bootstrap"
            }
            Self::Broken { .. } => "the node may have died: see `jackdaw cluster status`",
            Self::TimedOut { .. } | Self::NoLeader { .. } => {
                "a majority of the nodes may be down: see `jackdaw cluster status`"
            }
            Self::Protocol { .. } => {
                "check that the address is a Kafka listener, not a peer or an HTTP port"
            }
            Self::Refused { code, .. } => match ErrorCode::from_code(*code) {
                Some(ErrorCode::UnknownTopicOrPartition) => {
                    "see `jackdaw topic list`, or make it with `jackdaw topic create`"
                }
                Some(ErrorCode::TopicAlreadyExists) => "see it with `jackdaw topic describe`",
                Some(ErrorCode::InvalidReplicationFactor) => {
                    "use no more replicas than there are nodes: see `jackdaw cluster status`"
                }
                Some(ErrorCode::InvalidTopicException) => {
                    "use 1 to 249 letters, digits, `.`, `_` and `-`"
                }
                Some(ErrorCode::OffsetOutOfRange) => "try --from beginning",
                Some(ErrorCode::InconsistentGroupProtocol) => {
                    "the group's members use another assignor: choose another --group"
                }
                _ => "see the broker's log, and `jackdaw cluster status`",
            },
        };
        fixed.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_code_and_a_way_on() {
        let failure = check(3, "describe orders", None).unwrap_err();
        let text = failure.to_string();
        assert!(text.starts_with("describe orders: UNKNOWN_TOPIC_OR_PARTITION (3): "), "{text}");
        assert!(failure.hint().contains("topic create"));
        assert!(failure.is_retriable());
        assert!(check(0, "x", None).is_ok());
    }

    #[test]
    fn the_brokers_own_words_win() {
        let failure = check(42, "create", Some("partitions must be positive")).unwrap_err();
        assert_eq!(
            failure.to_string(),
            "create: INVALID_REQUEST (42): partitions must be positive"
        );
        assert!(!failure.is_retriable());
        assert!(check(31_000, "x", None).unwrap_err().to_string().contains("error 31000"));
    }
}
