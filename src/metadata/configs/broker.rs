//! The broker configs that DescribeConfigs lists, and which of them can be set while running.
//!
//! **Invariant:** every broker config that a topic config falls back to is known here, with the
//! same type and validator; its support is that of the topic config.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::topic::{Support, TOPIC_CONFIGS, TopicConfigDef};
use super::value::ConfigType::{self, Boolean, Double, Int, List, Long, String as Text};
use super::value::Validator::{self, Any, AtLeast};

/// A broker config.
#[derive(Clone, Copy, Debug)]
pub struct BrokerConfigDef {
    /// Its name.
    pub name: &'static str,
    /// Type of its values.
    pub kind: ConfigType,
    /// Kafka's value where nothing is set; `None`: unset.
    pub default: Option<&'static str>,
    /// Which values it takes.
    pub validator: Validator,
    /// Whether it can be set while the broker runs.
    pub dynamic: bool,
    /// The topic config that falls back to it, if one does.
    pub topic: Option<&'static TopicConfigDef>,
    /// One sentence for DescribeConfigs.
    pub doc: &'static str,
}

/// A config that is set in the node's file only.
const fn fixed(
    name: &'static str,
    kind: ConfigType,
    default: Option<&'static str>,
    validator: Validator,
    doc: &'static str,
) -> BrokerConfigDef {
    BrokerConfigDef { name, kind, default, validator, dynamic: false, topic: None, doc }
}

const FIXED: &[BrokerConfigDef] = &[
    fixed("advertised.listeners", Text, None, Any, "Where clients are told to connect to."),
    fixed(
        "auto.create.topics.enable",
        Boolean,
        Some("true"),
        Any,
        "Whether asking for a topic that does not exist creates it.",
    ),
    fixed("broker.id", Int, Some("-1"), Any, "The broker's id."),
    fixed("broker.rack", Text, None, Any, "The broker's rack, which placement separates."),
    fixed(
        "connections.max.idle.ms",
        Long,
        Some("600000"),
        Any,
        "Connections idle for longer are closed.",
    ),
    fixed(
        "default.replication.factor",
        Int,
        Some("1"),
        AtLeast(1),
        "Replicas of topics that are created without a replication factor.",
    ),
    fixed(
        "group.initial.rebalance.delay.ms",
        Int,
        Some("3000"),
        AtLeast(0),
        "How long an empty group waits for more members before its first rebalance.",
    ),
    fixed(
        "group.max.session.timeout.ms",
        Int,
        Some("1800000"),
        Any,
        "The longest session timeout that a consumer may ask for.",
    ),
    fixed(
        "group.min.session.timeout.ms",
        Int,
        Some("6000"),
        Any,
        "The shortest session timeout that a consumer may ask for.",
    ),
    fixed("listeners", List, None, Any, "The addresses that the broker listens on."),
    fixed(
        "log.cleaner.backoff.ms",
        Long,
        Some("15000"),
        AtLeast(0),
        "How often a broker looks for logs to compact when there were none.",
    ),
    fixed(
        "log.cleaner.dedupe.buffer.size",
        Long,
        Some("134217728"),
        AtLeast(0),
        "The most memory for the keys of the log that is compacted, 24 bytes each.",
    ),
    fixed(
        "log.cleaner.io.max.bytes.per.second",
        Double,
        Some("1.7976931348623157E308"),
        Any,
        "The most bytes that compaction reads and writes in a second.",
    ),
    fixed("log.dirs", Text, None, Any, "The folder that holds the broker's data."),
    fixed(
        "log.retention.check.interval.ms",
        Long,
        Some("300000"),
        AtLeast(1),
        "How often a broker looks for records that are too old.",
    ),
    fixed("node.id", Int, None, AtLeast(0), "The node's id."),
    fixed(
        "num.partitions",
        Int,
        Some("1"),
        AtLeast(1),
        "Partitions of topics that are created without a partition count.",
    ),
    fixed(
        "offset.metadata.max.bytes",
        Int,
        Some("4096"),
        AtLeast(0),
        "The largest metadata string that may be committed with an offset.",
    ),
    fixed(
        "offsets.retention.minutes",
        Int,
        Some("10080"),
        AtLeast(1),
        "How long an empty group's offsets are kept.",
    ),
    fixed("process.roles", List, Some("broker,controller"), Any, "Every node has both roles."),
    fixed(
        "socket.request.max.bytes",
        Int,
        Some("104857600"),
        AtLeast(1),
        "The largest request that is read.",
    ),
];

/// Defaults that Kafka has on a coarser synonym than the first.
fn synonym_default(def: &'static TopicConfigDef, name: &str) -> Option<&'static str> {
    match name {
        "log.retention.hours" | "log.roll.hours" => Some("168"),
        "log.roll.jitter.hours" => Some("0"),
        "log.flush.scheduler.interval.ms" => Some(def.default),
        _ if def.synonym_default => Some(def.default),
        _ => None,
    }
}

/// All broker configs, by name.
pub fn broker_configs() -> &'static BTreeMap<&'static str, BrokerConfigDef> {
    static ALL: OnceLock<BTreeMap<&'static str, BrokerConfigDef>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all: BTreeMap<_, _> = FIXED.iter().map(|def| (def.name, *def)).collect();
        for topic in TOPIC_CONFIGS {
            for (rank, synonym) in topic.synonyms.iter().enumerate() {
                let def = BrokerConfigDef {
                    name: synonym.name,
                    kind: if synonym.scale == 1 { topic.kind } else { Int },
                    default: synonym_default(topic, synonym.name),
                    validator: if synonym.scale == 1 { topic.validator } else { Any },
                    // Kafka's DynamicLogConfig: the finest synonym of each topic config.
                    dynamic: rank == 0,
                    topic: Some(topic),
                    doc: topic.doc,
                };
                all.insert(synonym.name, def);
            }
        }
        all
    })
}

impl BrokerConfigDef {
    /// What this build does with the config's values.
    #[must_use]
    pub fn support(&self) -> Support {
        self.topic.map_or(Support::Honoured, |topic| topic.support)
    }
}
