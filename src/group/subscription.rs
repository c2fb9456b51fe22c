//! The topics of a consumer's subscription, read from the metadata that it joins with.
//!
//! ```text
//! version i16 · topic count i32 · { length i16 · UTF-8 }… · the rest depends on the version
//! ```
//!
//! **Invariant:** the bytes come from a client: what does not parse is `None`, never an error for
//! the member, since the broker only passes metadata on (`ConsumerProtocol` in Kafka).

use std::collections::BTreeSet;

/// The protocol type whose metadata has this layout.
pub(crate) const CONSUMER: &str = "consumer";

/// The subscribed topics, or `None` if the bytes are no consumer subscription.
pub(crate) fn topics(metadata: &[u8]) -> Option<BTreeSet<&str>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = i32::from_be_bytes(*count);
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let (length, tail) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        if tail.len() < length {
            return None;
        }
        let (name, tail) = tail.split_at(length);
        topics.insert(std::str::from_utf8(name).ok()?);
        rest = tail;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_topics_and_refuses_garbage() {
        let bytes = b"\0\x03\0\0\0\x02\0\x01b\0\x02aaleft to later versions";
        assert_eq!(topics(bytes).unwrap(), BTreeSet::from(["aa", "b"]));
        assert_eq!(topics(b"\0\0\0\0\0\0"), Some(BTreeSet::new()));
        for cut in 0..13 {
            assert_eq!(topics(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(topics(b"\0\0\x7f\xff\xff\xff\0\x05ab"), None);
        assert_eq!(topics(b"\xff\xff\0\0\0\0"), None);
    }
}
