//! Every topic config of Kafka 4.1 (`TopicConfig`, `LogConfig`) and what this build does with it.
//!
//! **Invariant:** a config is [`Support::Honoured`], or it says why it is not: a value that
//! promises what no code here keeps is refused ([`Support::Only`]), and one that merely has
//! nothing to act on yet is kept ([`Support::Kept`]). Nothing is ignored in silence.

use super::value::ConfigType::{Boolean, Double, Int, List, Long, String as Text};
use super::value::Validator::{Any, AtLeast, Between, ListOf, OneOf, Range};
use super::value::{ConfigType, Validator};

/// What this build does with a config.
#[derive(Clone, Copy, Debug)]
pub enum Support {
    /// Every valid value has its effect.
    Honoured,
    /// Stored and shown, harmless without effect; why.
    Kept(&'static str),
    /// Only some valid values can be kept; others are refused with the reason.
    Only {
        /// The values that can be kept.
        takes: fn(&str) -> bool,
        /// Told to the client that wants another one.
        reason: &'static str,
    },
}

/// A broker config that a topic without the config of its own inherits.
#[derive(Clone, Copy, Debug)]
pub struct Synonym {
    /// The broker config's name.
    pub name: &'static str,
    /// Topic units per broker unit: 60,000 from minutes to ms.
    pub scale: i64,
}

/// A declared topic config.
#[derive(Clone, Copy, Debug)]
pub struct TopicConfigDef {
    /// Its name.
    pub name: &'static str,
    /// Type of its values.
    pub kind: ConfigType,
    /// Value where nothing is set.
    pub default: &'static str,
    /// Which values it takes.
    pub validator: Validator,
    /// Broker configs that it falls back to, in order. Empty: none.
    pub synonyms: &'static [Synonym],
    /// Whether the first synonym has a default of its own in Kafka, listed as such.
    pub synonym_default: bool,
    /// What this build does with it.
    pub support: Support,
    /// One or two sentences for DescribeConfigs.
    pub doc: &'static str,
}

const fn plain(name: &'static str) -> Synonym {
    Synonym { name, scale: 1 }
}

const fn scaled(name: &'static str, scale: i64) -> Synonym {
    Synonym { name, scale }
}

/// A definition without synonyms.
const fn def(
    name: &'static str,
    kind: ConfigType,
    default: &'static str,
    validator: Validator,
    support: Support,
    doc: &'static str,
) -> TopicConfigDef {
    let synonyms = &[];
    TopicConfigDef {
        name,
        kind,
        default,
        validator,
        synonyms,
        synonym_default: false,
        support,
        doc,
    }
}

impl TopicConfigDef {
    /// With broker configs to fall back to, the first of which has a default.
    const fn or(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self.synonym_default = true;
        self
    }

    /// With broker configs to fall back to, all unset by default.
    const fn or_unset(mut self, synonyms: &'static [Synonym]) -> Self {
        self.synonyms = synonyms;
        self
    }
}

const NO_TIERS: Support = Support::Kept("there is no tiered storage: remote.storage.enable is off");
const ONE_LZ4_LEVEL: Support =
    Support::Kept("the LZ4 encoder of this broker has one level, the fast one");
const OFF: fn(&str) -> bool = |value| value.trim().eq_ignore_ascii_case("false");
const NO_THROTTLE: Support = Support::Only {
    takes: |value| value.trim().is_empty(),
    reason: "replication is not throttled by this broker",
};

/// All topic configs, by name.
pub const TOPIC_CONFIGS: &[TopicConfigDef] = &[
    def(
        "cleanup.policy",
        List,
        "delete",
        ListOf(&["compact", "delete"]),
        Support::Only {
            takes: |value| !super::value::list_items(value).is_empty(),
            reason: "name 'compact', 'delete' or both; retention.ms=-1 keeps records for ever",
        },
        "What happens to old segments: 'delete' discards them when their retention time or size \
         limit is reached, 'compact' keeps the latest record of each key.",
    )
    .or(&[plain("log.cleanup.policy")]),
    def(
        "compression.gzip.level",
        Int,
        "-1",
        Range(-1, 9),
        Support::Only {
            takes: |value| value.trim() != "0",
            reason: "Value must be between 1 and 9 or equal to -1",
        },
        "The compression level if compression.type is 'gzip'.",
    )
    .or(&[plain("compression.gzip.level")]),
    def(
        "compression.lz4.level",
        Int,
        "9",
        Range(1, 17),
        ONE_LZ4_LEVEL,
        "The compression level if compression.type is 'lz4'.",
    )
    .or(&[plain("compression.lz4.level")]),
    def(
        "compression.type",
        Text,
        "producer",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        Support::Honoured,
        "The compression of the topic's records; 'producer' retains the codec of the producer.",
    )
    .or(&[plain("compression.type")]),
    def(
        "compression.zstd.level",
        Int,
        "3",
        Range(-131_072, 22),
        Support::Honoured,
        "The compression level if compression.type is 'zstd'.",
    )
    .or(&[plain("compression.zstd.level")]),
    def(
        "delete.retention.ms",
        Long,
        "86400000",
        AtLeast(0),
        Support::Honoured,
        "How long delete tombstones of a compacted topic are retained.",
    )
    .or(&[plain("log.cleaner.delete.retention.ms")]),
    def(
        "file.delete.delay.ms",
        Long,
        "60000",
        AtLeast(0),
        Support::Kept("a file that is still being read survives its deletion by itself"),
        "How long to wait before a file is deleted from the file system.",
    )
    .or(&[plain("log.segment.delete.delay.ms")]),
    def(
        "flush.messages",
        Long,
        "9223372036854775807",
        AtLeast(1),
        Support::Honoured,
        "After how many records an fsync is forced. Set on a topic, above 1, records are acknowledged \
         before they are on disk; else every acknowledged record is synced.",
    )
    .or(&[plain("log.flush.interval.messages")]),
    def(
        "flush.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        Support::Honoured,
        "After what time an fsync is forced. Set on a topic, above 0, records are acknowledged before \
         they are on disk; else every acknowledged record is synced.",
    )
    .or_unset(&[plain("log.flush.interval.ms"), plain("log.flush.scheduler.interval.ms")]),
    def(
        "follower.replication.throttled.replicas",
        List,
        "",
        Any,
        NO_THROTTLE,
        "Replicas whose replication is throttled on the follower's side.",
    ),
    def(
        "index.interval.bytes",
        Int,
        "4096",
        AtLeast(0),
        Support::Honoured,
        "How many bytes of records lie between two entries of the offset index.",
    )
    .or(&[plain("log.index.interval.bytes")]),
    def(
        "leader.replication.throttled.replicas",
        List,
        "",
        Any,
        NO_THROTTLE,
        "Replicas whose replication is throttled on the leader's side.",
    ),
    def(
        "local.retention.bytes",
        Long,
        "-2",
        AtLeast(-2),
        NO_TIERS,
        "The size of local segments before they are deleted; -2 means retention.bytes.",
    )
    .or(&[plain("log.local.retention.bytes")]),
    def(
        "local.retention.ms",
        Long,
        "-2",
        AtLeast(-2),
        NO_TIERS,
        "The time for which local segments are kept; -2 means retention.ms.",
    )
    .or(&[plain("log.local.retention.ms")]),
    def(
        "max.compaction.lag.ms",
        Long,
        "9223372036854775807",
        AtLeast(1),
        Support::Honoured,
        "The longest time for which a record may stay uncompacted.",
    )
    .or(&[plain("log.cleaner.max.compaction.lag.ms")]),
    def(
        "max.message.bytes",
        Int,
        "1048588",
        AtLeast(0),
        Support::Honoured,
        "The largest record batch, after compression, that the topic takes.",
    )
    .or(&[plain("message.max.bytes")]),
    def(
        "message.timestamp.after.max.ms",
        Long,
        "3600000",
        AtLeast(0),
        Support::Honoured,
        "How far a record's timestamp may be ahead of the broker's clock.",
    )
    .or(&[plain("log.message.timestamp.after.max.ms")]),
    def(
        "message.timestamp.before.max.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        Support::Honoured,
        "How far a record's timestamp may be behind the broker's clock.",
    )
    .or(&[plain("log.message.timestamp.before.max.ms")]),
    def(
        "message.timestamp.type",
        Text,
        "CreateTime",
        OneOf(&["CreateTime", "LogAppendTime"]),
        Support::Honoured,
        "Whether records carry the time of their creation or of their append.",
    )
    .or(&[plain("log.message.timestamp.type")]),
    def(
        "min.cleanable.dirty.ratio",
        Double,
        "0.5",
        Between(0.0, 1.0),
        Support::Honoured,
        "The share of uncompacted log from which on the log is compacted.",
    )
    .or(&[plain("log.cleaner.min.cleanable.ratio")]),
    def(
        "min.compaction.lag.ms",
        Long,
        "0",
        AtLeast(0),
        Support::Honoured,
        "The shortest time for which a record stays uncompacted.",
    )
    .or(&[plain("log.cleaner.min.compaction.lag.ms")]),
    def(
        "min.insync.replicas",
        Int,
        "1",
        AtLeast(1),
        Support::Honoured,
        "How many replicas must have a record before acks=all is answered. A majority always \
         must; a value above the majority of the topic's replicas is refused.",
    )
    .or(&[plain("min.insync.replicas")]),
    def(
        "preallocate",
        Boolean,
        "false",
        Any,
        Support::Kept("segments are always preallocated in small steps"),
        "Whether a segment's file is preallocated.",
    )
    .or(&[plain("log.preallocate")]),
    def(
        "remote.log.copy.disable",
        Boolean,
        "false",
        Any,
        NO_TIERS,
        "Whether tiered data becomes read-only.",
    ),
    def(
        "remote.log.delete.on.disable",
        Boolean,
        "false",
        Any,
        NO_TIERS,
        "Whether tiered data is deleted when tiering is switched off.",
    ),
    def(
        "remote.storage.enable",
        Boolean,
        "false",
        Any,
        Support::Only { takes: OFF, reason: "this broker has no tiered storage" },
        "Whether old segments move to remote storage.",
    ),
    def(
        "retention.bytes",
        Long,
        "-1",
        Any,
        Support::Honoured,
        "The size to which a partition may grow before old segments are deleted; -1: no limit.",
    )
    .or(&[plain("log.retention.bytes")]),
    def(
        "retention.ms",
        Long,
        "604800000",
        AtLeast(-1),
        Support::Honoured,
        "How long records are retained before old segments are deleted; -1: for ever.",
    )
    .or_unset(&[
        plain("log.retention.ms"),
        scaled("log.retention.minutes", 60_000),
        scaled("log.retention.hours", 3_600_000),
    ]),
    def(
        "segment.bytes",
        Int,
        "1073741824",
        AtLeast(1_048_576),
        Support::Honoured,
        "The size at which a segment file is closed and a new one begun.",
    )
    .or(&[plain("log.segment.bytes")]),
    def(
        "segment.index.bytes",
        Int,
        "10485760",
        AtLeast(4),
        Support::Kept("indexes grow with their segment and need no limit"),
        "The size of the offset index.",
    )
    .or(&[plain("log.index.size.max.bytes")]),
    def(
        "segment.jitter.ms",
        Long,
        "0",
        AtLeast(0),
        Support::Honoured,
        "The largest random time subtracted from segment.ms.",
    )
    .or_unset(&[plain("log.roll.jitter.ms"), scaled("log.roll.jitter.hours", 3_600_000)]),
    def(
        "segment.ms",
        Long,
        "604800000",
        AtLeast(1),
        Support::Honoured,
        "The age at which a segment is closed even if it is not full.",
    )
    .or_unset(&[plain("log.roll.ms"), scaled("log.roll.hours", 3_600_000)]),
    def(
        "unclean.leader.election.enable",
        Boolean,
        "false",
        Any,
        Support::Only {
            takes: OFF,
            reason: "a replica that misses committed records never leads here: that would lose \
                     acknowledged records",
        },
        "Whether a replica that misses committed records may become leader as a last resort.",
    )
    .or(&[plain("unclean.leader.election.enable")]),
];

/// The definition of a topic config.
#[must_use]
pub fn topic_config(name: &str) -> Option<&'static TopicConfigDef> {
    TOPIC_CONFIGS.binary_search_by(|def| def.name.cmp(name)).ok().map(|at| &TOPIC_CONFIGS[at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::configs::value;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid_and_supported() {
        assert!(TOPIC_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
        for def in TOPIC_CONFIGS {
            value::validate(def.name, def.kind, def.validator, def.default).unwrap();
            if let Support::Only { takes, .. } = def.support {
                assert!(takes(def.default), "{}", def.name);
            }
            assert!(topic_config(def.name).is_some());
        }
        assert!(topic_config("retention.m").is_none());
    }
}
