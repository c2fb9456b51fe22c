//! Where a config's value comes from: topic, broker, cluster, file or default.
//!
//! ```text
//! 1  topic config                 on the topic itself
//! 2  dynamic broker config        AlterConfigs on one broker      ┐
//! 3  dynamic cluster config       AlterConfigs on broker ""       │ by the names of its synonyms
//! 4  static config                the node's file                 │
//! 5  default                      the table                       ┘
//! ```
//!
//! **Invariant:** the first of them in this order is in force (Kafka's `ConfigHelper`).

use std::collections::BTreeMap;

use super::broker::{BrokerConfigDef, broker_configs};
use super::topic::{Synonym, TopicConfigDef};

/// Names and values.
pub type ConfigMap = BTreeMap<String, String>;

/// Where a value comes from, with Kafka's numbers (`DescribeConfigsResponse.ConfigSource`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic = 1,
    /// Set on this broker while running.
    Broker = 2,
    /// Set on all brokers while running.
    Cluster = 3,
    /// From the node's file.
    Static = 4,
    /// From the table.
    Default = 5,
}

/// One value that a config could have, under the name that gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The name under which it is set.
    pub name: String,
    /// The value under that name.
    pub value: String,
    /// Who set it.
    pub source: ConfigSource,
}

/// A config and the value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The value in force, in the config's own unit; `None`: unset.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// All values that are set, the one in force first.
    pub synonyms: Vec<ConfigSynonym>,
}

/// The configs of a broker, by who set them.
#[derive(Clone, Copy, Debug)]
pub struct BrokerLayers<'a> {
    /// Set on this broker.
    pub broker: &'a ConfigMap,
    /// Set on all brokers.
    pub cluster: &'a ConfigMap,
    /// From the node's file, under Kafka's names.
    pub statics: &'a ConfigMap,
}

impl BrokerLayers<'_> {
    fn collect(&self, names: &[Synonym], out: &mut Vec<ConfigSynonym>) {
        let layers = [
            (self.broker, ConfigSource::Broker),
            (self.cluster, ConfigSource::Cluster),
            (self.statics, ConfigSource::Static),
        ];
        for (map, source) in layers {
            for synonym in names {
                if let Some(value) = map.get(synonym.name) {
                    out.push(ConfigSynonym {
                        name: synonym.name.into(),
                        value: value.clone(),
                        source,
                    });
                }
            }
        }
        for synonym in names {
            let default = broker_configs().get(synonym.name).and_then(|def| def.default);
            if let Some(value) = default {
                let source = ConfigSource::Default;
                out.push(ConfigSynonym { name: synonym.name.into(), value: value.into(), source });
            }
        }
    }

    /// A topic config of a topic on which `topic` is set.
    #[must_use]
    pub fn topic_config(&self, def: &TopicConfigDef, topic: &ConfigMap) -> Resolved {
        let mut synonyms = Vec::new();
        if let Some(value) = topic.get(def.name) {
            let source = ConfigSource::Topic;
            synonyms.push(ConfigSynonym { name: def.name.into(), value: value.clone(), source });
        }
        self.collect(def.synonyms, &mut synonyms);
        match synonyms.first() {
            Some(first) if first.source != ConfigSource::Default => {
                let scale = def
                    .synonyms
                    .iter()
                    .find(|synonym| synonym.name == first.name && first.name != def.name)
                    .map_or(1, |synonym| synonym.scale);
                Resolved {
                    value: Some(scaled(&first.value, scale)),
                    source: first.source,
                    synonyms,
                }
            }
            _ => Resolved {
                value: Some(def.default.into()),
                source: ConfigSource::Default,
                synonyms,
            },
        }
    }

    /// A broker config.
    #[must_use]
    pub fn broker_config(&self, def: &BrokerConfigDef) -> Resolved {
        let own = [Synonym { name: def.name, scale: 1 }];
        let mut synonyms = Vec::new();
        self.collect(&own, &mut synonyms);
        // Values under coarser names (log.retention.hours for log.retention.ms) come after its own.
        let coarser = def.topic.map_or(&[][..], |topic| topic.synonyms);
        let at = coarser.iter().position(|synonym| synonym.name == def.name);
        if let Some(at) = at {
            self.collect(&coarser[at + 1..], &mut synonyms);
        }
        let first = synonyms.iter().find(|synonym| synonym.name == def.name);
        Resolved {
            value: first.map(|synonym| synonym.value.clone()),
            source: first.map_or(ConfigSource::Default, |synonym| synonym.source),
            synonyms,
        }
    }
}

/// `value` in the finer unit; as it is where it is no number (it was validated when it was set).
fn scaled(value: &str, scale: i64) -> String {
    match value.trim().parse::<i64>() {
        // −1 hours is "no limit", as is −1 ms.
        Ok(number) if scale != 1 && number >= 0 => number.saturating_mul(scale).to_string(),
        Ok(_) | Err(_) => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::topic::topic_config;
    use super::*;

    fn map(name: &str, value: &str) -> ConfigMap {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn the_nearest_value_is_in_force() {
        let none = ConfigMap::new();
        let statics = map("log.retention.hours", "2");
        let cluster = map("log.retention.ms", "3");
        let def = topic_config("retention.ms").unwrap();
        let layers = BrokerLayers { broker: &none, cluster: &none, statics: &none };
        let found = layers.topic_config(def, &none);
        assert_eq!(found.value.as_deref(), Some("604800000"));
        assert_eq!(found.source, ConfigSource::Default);

        let layers = BrokerLayers { broker: &none, cluster: &none, statics: &statics };
        let found = layers.topic_config(def, &none);
        assert_eq!((found.value.as_deref(), found.source), (Some("7200000"), ConfigSource::Static));

        let layers = BrokerLayers { broker: &none, cluster: &cluster, statics: &statics };
        let found = layers.topic_config(def, &none);
        assert_eq!((found.value.as_deref(), found.source), (Some("3"), ConfigSource::Cluster));

        let found = layers.topic_config(def, &map("retention.ms", "4"));
        assert_eq!((found.value.as_deref(), found.source), (Some("4"), ConfigSource::Topic));
        let names: Vec<_> = found.synonyms.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(
            names,
            ["retention.ms", "log.retention.ms", "log.retention.hours", "log.retention.hours"]
        );
    }

    #[test]
    fn a_broker_config_knows_its_own_name_first() {
        let none = ConfigMap::new();
        let cluster = map("message.max.bytes", "5");
        let layers = BrokerLayers { broker: &none, cluster: &cluster, statics: &none };
        let found = layers.broker_config(&broker_configs()["message.max.bytes"]);
        assert_eq!((found.value.as_deref(), found.source), (Some("5"), ConfigSource::Cluster));
        assert_eq!(found.synonyms.len(), 2);
        let found = layers.broker_config(&broker_configs()["log.roll.ms"]);
        assert_eq!((found.value, found.synonyms.len()), (None, 1));
    }
}
