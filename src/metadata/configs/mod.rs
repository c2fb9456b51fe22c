//! Declared configs of topics and brokers: names, types, defaults, validators, documentation.
//!
//! **Invariant:** pure tables and functions; `topic` says of each config whether this build acts
//! on it.

mod broker;
mod check;
mod resolve;
mod topic;
mod topic_config;
mod value;

pub use broker::{BrokerConfigDef, broker_configs};
pub use check::{check_broker, check_statics, check_topic};
pub use resolve::{BrokerLayers, ConfigMap, ConfigSource, ConfigSynonym, Resolved};
pub use topic::{Support, Synonym, TOPIC_CONFIGS, TopicConfigDef, topic_config};
pub use topic_config::TopicConfig;
pub use value::{ConfigType, InvalidValue, Validator, list_items, validate};
