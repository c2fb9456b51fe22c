//! The API table: what this broker offers, listed once.
//!
//! Version ranges are Kafka 4.1's with its minima kept, because clients from 2016 on still choose
//! by them. Two lower bounds are advertised below what is accepted: see [`Api::advertised`].
//!
//! **Invariant:** a key is in the table exactly if a handler answers it, and the accepted range
//! lies within what `kafka-wire` can encode and decode.

use std::fmt;

/// An inclusive range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// Oldest.
    pub min: i16,
    /// Newest.
    pub max: i16,
}

impl Versions {
    /// Whether `version` lies in the range.
    #[must_use]
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// The newest version in both ranges, if there is one.
    #[must_use]
    pub fn newest_common(self, other: Self) -> Option<i16> {
        let newest = self.max.min(other.max);
        (newest >= self.min && newest >= other.min).then_some(newest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}–{}", self.min, self.max)
    }
}

/// What is fixed about one API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its key.
    pub key: ApiKey,
    /// Kafka's name for it.
    pub name: &'static str,
    /// Versions that are answered.
    pub accepted: Versions,
    /// Versions that ApiVersions shows. Produce shows 0 though only 3 and up are answered:
    /// librdkafka before 2.11.1 stops compressing otherwise (KAFKA-18659).
    pub advertised: Versions,
    /// First version with compact lengths and tagged fields.
    pub flexible_from: i16,
    /// Most bytes of a request frame, whatever the configured limit. Only record batches need
    /// much; elsewhere a byte on the wire can cost 50 in memory once decoded, and this bound keeps
    /// that product below one large produce request.
    pub frame_bytes_max: usize,
}

impl Api {
    /// Whether `version` is encoded with compact lengths and tagged fields.
    #[must_use]
    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }
}

/// Frames of record batches: as large as the configuration allows.
const LARGE: usize = i32::MAX as usize;
/// Frames whose bytes are few large fields: group metadata and assignments.
const BLOBS: usize = 16 << 20;
/// Frames made of many small elements.
const SMALL: usize = 2 << 20;
macro_rules! apis {
    ($($key:literal $name:ident $min:literal..=$max:literal advertised from $from:literal
        flexible from $flexible:literal $size:ident;)*) => {
        /// Keys of the APIs that are offered.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(i16)]
        pub enum ApiKey {
            $(#[doc = concat!("API key ", $key, ".")] $name = $key,)*
        }

        /// Every API on offer, ascending by key.
        pub const APIS: &[Api] = &[$(Api {
            key: ApiKey::$name,
            name: stringify!($name),
            accepted: Versions { min: $min, max: $max },
            advertised: Versions { min: $from, max: $max },
            flexible_from: $flexible,
            frame_bytes_max: $size,
        },)*];
    };
}

apis! {
     0 Produce                 3..=13 advertised from 0 flexible from 9  LARGE;
     1 Fetch                   4..=18 advertised from 4 flexible from 12 SMALL;
     2 ListOffsets             1..=10 advertised from 1 flexible from 6  SMALL;
     3 Metadata                0..=13 advertised from 0 flexible from 9  SMALL;
     8 OffsetCommit            2..=10 advertised from 2 flexible from 8  SMALL;
     9 OffsetFetch             1..=10 advertised from 1 flexible from 6  SMALL;
    10 FindCoordinator         0..=6  advertised from 0 flexible from 3  SMALL;
    11 JoinGroup               0..=9  advertised from 0 flexible from 6  BLOBS;
    12 Heartbeat               0..=4  advertised from 0 flexible from 4  SMALL;
    13 LeaveGroup              0..=5  advertised from 0 flexible from 4  SMALL;
    14 SyncGroup               0..=5  advertised from 0 flexible from 4  BLOBS;
    15 DescribeGroups          0..=6  advertised from 0 flexible from 5  SMALL;
    16 ListGroups              0..=5  advertised from 0 flexible from 3  SMALL;
    18 ApiVersions             0..=4  advertised from 0 flexible from 3  SMALL;
    19 CreateTopics            2..=7  advertised from 2 flexible from 5  SMALL;
    20 DeleteTopics            1..=6  advertised from 1 flexible from 4  SMALL;
    21 DeleteRecords           0..=2  advertised from 0 flexible from 2  SMALL;
    22 InitProducerId          0..=5  advertised from 0 flexible from 2  SMALL;
    23 OffsetForLeaderEpoch    2..=4  advertised from 2 flexible from 4  SMALL;
    32 DescribeConfigs         1..=4  advertised from 1 flexible from 4  SMALL;
    37 CreatePartitions        0..=3  advertised from 0 flexible from 2  SMALL;
    43 ElectLeaders            0..=2  advertised from 0 flexible from 2  SMALL;
    44 IncrementalAlterConfigs 0..=1  advertised from 0 flexible from 1  SMALL;
    60 DescribeCluster         0..=2  advertised from 0 flexible from 0  SMALL;
}

impl ApiKey {
    /// The key of a number, or `None` where the API is not offered.
    #[must_use]
    pub fn from_code(code: i16) -> Option<Self> {
        let at = APIS.binary_search_by_key(&code, |api| api.key.code()).ok()?;
        Some(APIS[at].key)
    }

    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// The table's row.
    #[must_use]
    pub fn api(self) -> &'static Api {
        APIS.iter().find(|api| api.key == self).expect("every key has a row: one macro makes both")
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.api().name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_agrees_with_the_codec() {
        for api in APIS {
            let codec = kafka_wire::API_DESCRIPTORS
                .iter()
                .find(|codec| codec.api_key.value() == api.key.code())
                .unwrap();
            assert_eq!(codec.request.name, format!("{}Request", api.name));
            let supported = codec.supported_versions;
            assert!(supported.min().value() <= api.accepted.min, "{}", api.name);
            assert!(supported.max().value() >= api.accepted.max, "{}", api.name);
            let flexible = codec.flexible_versions.unwrap();
            assert_eq!(flexible.min().value(), api.flexible_from, "{}", api.name);
            assert!(api.advertised.min <= api.accepted.min);
            assert_eq!(api.advertised.max, api.accepted.max);
        }
    }

    #[test]
    fn keys_ascend_and_are_found_by_number() {
        assert!(APIS.windows(2).all(|pair| pair[0].key < pair[1].key));
        for code in -1..=100 {
            let key = ApiKey::from_code(code);
            assert_eq!(key.is_some(), APIS.iter().any(|api| api.key.code() == code));
            assert!(key.is_none_or(|key| key.api().key == key && key.code() == code));
        }
    }

    #[test]
    fn newest_common_version() {
        let range = |min, max| Versions { min, max };
        assert_eq!(range(3, 13).newest_common(range(0, 9)), Some(9));
        assert_eq!(range(3, 13).newest_common(range(0, 2)), None);
        assert_eq!(range(0, 2).newest_common(range(3, 13)), None);
    }
}
