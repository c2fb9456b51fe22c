//! A topic's configs as numbers, for the rooms that act on them.
//!
//! **Invariant:** resolved through all layers, so that a reader needs no second look-up.

use super::resolve::{BrokerLayers, ConfigMap};
use super::topic::topic_config;
use super::value::{self, InvalidValue};
use crate::model::compression::{Codec, Compression};
use crate::storage::FlushPolicy;

/// The configs of one topic in force on one broker.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `min.cleanable.dirty.ratio`.
    pub dirty_ratio_min: f64,
    /// `min.compaction.lag.ms`.
    pub compaction_lag_min_ms: u64,
    /// `max.compaction.lag.ms`; `None`: no limit.
    pub compaction_lag_max_ms: Option<u64>,
    /// `delete.retention.ms`.
    pub tombstones_ms: u64,
    /// `compression.type` with the level of that codec; `None`: as the producer has it.
    pub codec: Option<Codec>,
    /// `flush.messages` and `flush.ms`, where the topic itself sets them.
    pub flush: FlushPolicy,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u64,
    /// `max.message.bytes`: of a batch as it came.
    pub message_bytes_max: usize,
    /// `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `retention.bytes`; `None`: no limit.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`; `None`: no limit.
    pub retention_ms: Option<u64>,
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `segment.ms`.
    pub segment_ms: u64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: u64,
}

/// Reads one config after the other; each value is checked as when it was set.
struct Reader<'a> {
    layers: &'a BrokerLayers<'a>,
    topic: &'a ConfigMap,
}

impl Reader<'_> {
    fn text(&self, name: &str) -> Result<String, InvalidValue> {
        let def = topic_config(name).expect("only configs of the table are read");
        let value = self.layers.topic_config(def, self.topic).value;
        let value = value.expect("every topic config has a default");
        value::validate(name, def.kind, def.validator, &value)?;
        Ok(value.trim().to_owned())
    }

    fn integer(&self, name: &str) -> Result<i64, InvalidValue> {
        Ok(self.text(name)?.parse().expect("validated as a number just above"))
    }

    fn unsigned(&self, name: &str) -> Result<u64, InvalidValue> {
        Ok(u64::try_from(self.integer(name)?).expect("its validator admits no negative number"))
    }

    fn double(&self, name: &str) -> Result<f64, InvalidValue> {
        Ok(self.text(name)?.parse().expect("validated as a number just above"))
    }

    fn codec(&self) -> Result<Option<Codec>, InvalidValue> {
        let name = self.text("compression.type")?;
        let compression = match name.as_str() {
            "producer" => return Ok(None),
            "uncompressed" => Compression::None,
            name => name.parse().expect("its validator admits codecs only"),
        };
        let level = match compression {
            Compression::Gzip => Some("compression.gzip.level"),
            Compression::Zstd => Some("compression.zstd.level"),
            Compression::None | Compression::Snappy | Compression::Lz4 => None,
        };
        let level = level.map(|name| self.integer(name)).transpose()?;
        let level = level.and_then(|level| i32::try_from(level).ok());
        Ok(Some(Codec { compression, level }))
    }

    /// Durable unless the topic itself, and no default for all topics, leaves it to a later flush.
    fn flush_policy(&self) -> Result<FlushPolicy, InvalidValue> {
        let names = ["flush.messages", "flush.ms"];
        if !names.iter().any(|name| self.topic.contains_key(*name)) {
            return Ok(FlushPolicy::Durable);
        }
        let limit = |name| match self.topic.contains_key(name) {
            true => Ok(self.unsigned(name)?),
            false => Ok(i64::MAX as u64),
        };
        let [messages, ms] = [limit(names[0])?, limit(names[1])?];
        if messages <= 1 || ms == 0 {
            return Ok(FlushPolicy::Durable);
        }
        let or_never = |limit| if limit == i64::MAX as u64 { u64::MAX } else { limit };
        Ok(FlushPolicy::Relaxed { messages: or_never(messages), ms: or_never(ms) })
    }

    /// A limit where any negative number is "none".
    fn limit(&self, name: &str) -> Result<Option<u64>, InvalidValue> {
        Ok(u64::try_from(self.integer(name)?).ok())
    }
}

impl TopicConfig {
    /// The configs of a topic on which `topic` is set, on the broker of `layers`.
    ///
    /// # Errors
    /// [`InvalidValue`] if a value that is set is not valid: nodes of different builds, or a file.
    pub fn resolve(layers: &BrokerLayers<'_>, topic: &ConfigMap) -> Result<Self, InvalidValue> {
        let read = Reader { layers, topic };
        let policy = read.text("cleanup.policy")?;
        let has_policy = |name| value::list_items(&policy).contains(&name);
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(Self {
            delete: has_policy("delete"),
            compact: has_policy("compact"),
            dirty_ratio_min: read.double("min.cleanable.dirty.ratio")?,
            compaction_lag_min_ms: read.unsigned("min.compaction.lag.ms")?,
            compaction_lag_max_ms: Some(read.unsigned("max.compaction.lag.ms")?)
                .filter(|ms| *ms < i64::MAX as u64),
            tombstones_ms: read.unsigned("delete.retention.ms")?,
            codec: read.codec()?,
            flush: read.flush_policy()?,
            index_interval_bytes: read.unsigned("index.interval.bytes")?,
            message_bytes_max: count(read.unsigned("max.message.bytes")?),
            log_append_time: read.text("message.timestamp.type")? == "LogAppendTime",
            timestamp_before_max_ms: read.integer("message.timestamp.before.max.ms")?,
            timestamp_after_max_ms: read.integer("message.timestamp.after.max.ms")?,
            min_insync_replicas: count(read.unsigned("min.insync.replicas")?),
            retention_bytes: read.limit("retention.bytes")?,
            retention_ms: read.limit("retention.ms")?,
            segment_bytes: read.unsigned("segment.bytes")?,
            segment_ms: read.unsigned("segment.ms")?,
            segment_jitter_ms: read.unsigned("segment.jitter.ms")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_kafkas_and_bad_values_are_errors() {
        let none = ConfigMap::new();
        let layers = BrokerLayers { broker: &none, cluster: &none, statics: &none };
        let config = TopicConfig::resolve(&layers, &none).unwrap();
        assert!(config.delete && !config.compact && !config.log_append_time);
        assert_eq!(config.message_bytes_max, 1_048_588);
        assert_eq!((config.retention_bytes, config.retention_ms), (None, Some(604_800_000)));
        assert_eq!(config.codec, None);
        assert_eq!((config.dirty_ratio_min, config.tombstones_ms), (0.5, 86_400_000));
        assert_eq!((config.compaction_lag_min_ms, config.compaction_lag_max_ms), (0, None));
        let set = |name: &str, value: &str| {
            let topic = ConfigMap::from([(name.to_owned(), value.to_owned())]);
            TopicConfig::resolve(&layers, &topic).unwrap()
        };
        assert!(set("message.timestamp.type", "LogAppendTime").log_append_time);
        for (name, compression, level) in [
            ("uncompressed", Compression::None, None),
            ("gzip", Compression::Gzip, Some(-1)),
            ("snappy", Compression::Snappy, None),
            ("lz4", Compression::Lz4, None),
            ("zstd", Compression::Zstd, Some(3)),
        ] {
            let codec = Some(Codec { compression, level });
            assert_eq!(set("compression.type", name).codec, codec);
        }
        let both = set("cleanup.policy", "compact, delete");
        assert!(both.compact && both.delete);
        assert!(!set("cleanup.policy", "compact").delete);
        assert_eq!(set("max.compaction.lag.ms", "7").compaction_lag_max_ms, Some(7));
        let bad = ConfigMap::from([("retention.ms".to_owned(), "soon".to_owned())]);
        assert!(TopicConfig::resolve(&layers, &bad).is_err());
    }

    #[test]
    fn only_a_topic_of_its_own_will_is_relaxed() {
        let none = ConfigMap::new();
        let everywhere = ConfigMap::from([("log.flush.interval.messages".into(), "9".into())]);
        let layers = BrokerLayers { broker: &none, cluster: &everywhere, statics: &none };
        let flush = |set: &[(&str, &str)]| {
            let topic = set.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            TopicConfig::resolve(&layers, &topic.collect()).unwrap().flush
        };
        let never = i64::MAX.to_string();
        let relaxed = |messages, ms| FlushPolicy::Relaxed { messages, ms };
        assert_eq!(flush(&[]), FlushPolicy::Durable);
        assert_eq!(flush(&[("flush.messages", "1")]), FlushPolicy::Durable);
        assert_eq!(flush(&[("flush.ms", "0")]), FlushPolicy::Durable);
        assert_eq!(flush(&[("flush.messages", "1"), ("flush.ms", "9")]), FlushPolicy::Durable);
        assert_eq!(flush(&[("flush.messages", "2")]), relaxed(2, u64::MAX));
        assert_eq!(flush(&[("flush.ms", "1000")]), relaxed(u64::MAX, 1000));
        let both = [("flush.ms", "7"), ("flush.messages", "8")];
        assert_eq!(flush(&both), relaxed(8, 7));
        assert_eq!(flush(&[("flush.ms", &never)]), relaxed(u64::MAX, u64::MAX));
    }
}
