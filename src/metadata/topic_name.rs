//! Which names a topic may have: Kafka's rules (`org.apache.kafka.common.internals.Topic`).
//!
//! **Invariant:** pure; every name in the replicated state has passed [`validate`].

use serde::{Deserialize, Serialize};

/// Longest topic name in bytes: with the partition suffix it still fits a file name.
pub const NAME_BYTES_MAX: usize = 249;

/// The topic that Kafka's own controllers use; no client may create it.
pub const CLUSTER_METADATA: &str = "__cluster_metadata";

/// Why a topic name is refused; the text is Kafka's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum TopicNameError {
    /// No characters.
    #[error("Topic name is invalid: the empty string is not allowed")]
    Empty,
    /// `.` or `..`, which are folders.
    #[error("Topic name is invalid: '{0}' is not allowed")]
    Dots(String),
    /// More than [`NAME_BYTES_MAX`] characters.
    #[error(
        "Topic name is invalid: the length of '{0}' is longer than the max allowed length {max}",
        max = NAME_BYTES_MAX
    )]
    TooLong(String),
    /// A character outside `[a-zA-Z0-9._-]`.
    #[error(
        "Topic name is invalid: '{0}' contains one or more characters other than ASCII \
         alphanumerics, '.', '_' and '-'"
    )]
    Characters(String),
    /// Same as an existing name when `.` and `_` are not told apart, as metric names do not.
    #[error("Topic '{name}' collides with existing topic: {existing}")]
    Collision {
        /// The new name.
        name: String,
        /// The topic that is there.
        existing: String,
    },
}

/// Checks the form of a topic name.
///
/// # Errors
/// Any [`TopicNameError`] but [`TopicNameError::Collision`].
pub fn validate(name: &str) -> Result<(), TopicNameError> {
    if name.is_empty() {
        return Err(TopicNameError::Empty);
    }
    if name == "." || name == ".." {
        return Err(TopicNameError::Dots(name.to_owned()));
    }
    // Kafka counts UTF-16 units; a name that is not ASCII fails the next check in either count.
    if name.chars().count() > NAME_BYTES_MAX {
        return Err(TopicNameError::TooLong(name.to_owned()));
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
        return Err(TopicNameError::Characters(name.to_owned()));
    }
    Ok(())
}

/// The name with `.` and `_` made equal: two topics may not share it.
#[must_use]
pub fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

/// Whether Kafka keeps its own state under this name, so that it must not come to be by accident.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    matches!(name, "__consumer_offsets" | "__transaction_state" | "__share_group_state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_kafka_takes() {
        for name in ["a", "A.b_c-9", "...", "__consumer_offsets", &"x".repeat(249)] {
            assert_eq!(validate(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn refuses_what_kafka_refuses_in_its_words() {
        let says = |name: &str| validate(name).unwrap_err().to_string();
        assert_eq!(says(""), "Topic name is invalid: the empty string is not allowed");
        assert_eq!(says(".."), "Topic name is invalid: '..' is not allowed");
        assert_eq!(
            says("a/b"),
            "Topic name is invalid: 'a/b' contains one or more characters other than ASCII \
             alphanumerics, '.', '_' and '-'"
        );
        let long = "x".repeat(250);
        assert_eq!(
            says(&long),
            format!(
                "Topic name is invalid: the length of '{long}' is longer than the max allowed \
                 length 249"
            )
        );
        assert!(matches!(validate("é"), Err(TopicNameError::Characters(_))));
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert_eq!(collision_key("a.b_c"), collision_key("a_b.c"));
        assert_ne!(collision_key("a-b"), collision_key("a_b"));
    }
}
