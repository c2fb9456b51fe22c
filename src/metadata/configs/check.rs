//! Checks of config changes, before they are proposed.
//!
//! **Invariant:** what passes is valid in Kafka's sense and kept by this build; everything else is
//! refused with a reason that the client can read.

use super::broker::{BrokerConfigDef, broker_configs};
use super::resolve::ConfigMap;
use super::topic::{Support, topic_config};
use super::value;
use crate::metadata::refusal::Refusal;

fn check_support(name: &str, value: &str, support: Support) -> Result<(), Refusal> {
    match support {
        Support::Only { takes, reason } if !takes(value) => Err(Refusal::Config(format!(
            "Invalid value {value} for configuration {name}: {reason}"
        ))),
        Support::Honoured | Support::Kept(_) | Support::Only { .. } => Ok(()),
    }
}

/// A majority of `replicas`.
fn majority(replicas: usize) -> usize {
    replicas / 2 + 1
}

/// Checks all configs of a topic with `replicas` replicas.
///
/// # Errors
/// [`Refusal::Config`].
pub fn check_topic(configs: &ConfigMap, replicas: usize) -> Result<(), Refusal> {
    for (name, value) in configs {
        let def = topic_config(name)
            .ok_or_else(|| Refusal::Config(format!("Unknown topic config name: {name}")))?;
        value::validate(name, def.kind, def.validator, value)
            .map_err(|error| Refusal::Config(error.to_string()))?;
        check_support(name, value, def.support)?;
    }
    check_lags(configs)?;
    let wanted: Option<usize> =
        configs.get("min.insync.replicas").and_then(|text| text.trim().parse().ok());
    match wanted {
        // acks=all waits for the majority that Raft commits with: more is never promised.
        Some(wanted) if wanted > majority(replicas) => Err(Refusal::Config(format!(
            "Invalid value {wanted} for configuration min.insync.replicas: acks=all is answered \
             once a majority has synced, which of {replicas} replicas is {}",
            majority(replicas)
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Kafka's `LogConfig.validateValues`.
fn check_lags(configs: &ConfigMap) -> Result<(), Refusal> {
    let number = |name| configs.get(name).and_then(|text| text.trim().parse::<i64>().ok());
    let least = number("min.compaction.lag.ms").unwrap_or(0);
    let most = number("max.compaction.lag.ms").unwrap_or(i64::MAX);
    if least > most {
        return Err(Refusal::Config(format!(
            "conflict topic config setting min.compaction.lag.ms ({least}) > \
             max.compaction.lag.ms ({most})"
        )));
    }
    Ok(())
}

/// Checks a dynamic config of one or all brokers.
///
/// # Errors
/// [`Refusal::Config`], or [`Refusal::Request`] where it cannot be set while running.
pub fn check_broker(name: &str, value: Option<&str>) -> Result<(), Refusal> {
    let def = broker_configs()
        .get(name)
        .ok_or_else(|| Refusal::Config(format!("Unknown broker config name: {name}")))?;
    if !def.dynamic {
        return Err(Refusal::Request(format!(
            "Cannot update these configs dynamically: Set({name})"
        )));
    }
    value.map_or(Ok(()), |value| check_value(def, value))
}

/// Checks the configs of a node's file.
///
/// # Errors
/// [`Refusal::Config`].
pub fn check_statics(configs: &ConfigMap) -> Result<(), Refusal> {
    for (name, value) in configs {
        let def = broker_configs()
            .get(name.as_str())
            .ok_or_else(|| Refusal::Config(format!("Unknown broker config name: {name}")))?;
        check_value(def, value)?;
    }
    Ok(())
}

fn check_value(def: &BrokerConfigDef, value: &str) -> Result<(), Refusal> {
    let name = def.name;
    value::validate(name, def.kind, def.validator, value)
        .map_err(|error| Refusal::Config(error.to_string()))?;
    if name == "min.insync.replicas" && value.trim().parse::<i64>().is_ok_and(|n| n > 2) {
        return Err(Refusal::Config(format!(
            "Invalid value {value} for configuration {name}: acks=all is answered once a majority \
             has synced, 2 of 3 replicas; set a higher value on topics with more replicas"
        )));
    }
    check_support(name, value, def.support())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, value: &str) -> String {
        let configs = ConfigMap::from([(name.to_owned(), value.to_owned())]);
        check_topic(&configs, 3).map_or_else(|e| e.to_string(), |()| "ok".into())
    }

    #[test]
    fn topics_take_what_is_valid_and_kept() {
        assert_eq!(topic("retention.ms", "-1"), "ok");
        assert_eq!(topic("cleanup.policy", "delete"), "ok");
        assert_eq!(topic("cleanup.policy", "compact"), "ok");
        assert_eq!(topic("cleanup.policy", "compact,delete"), "ok");
        assert_eq!(topic("min.insync.replicas", "2"), "ok");
        assert_eq!(topic("compression.type", "zstd"), "ok");
        assert_eq!(topic("compression.zstd.level", "-7"), "ok");
        assert_eq!(topic("message.timestamp.type", "LogAppendTime"), "ok");
        assert_eq!(topic("nonsense", "1"), "Unknown topic config name: nonsense");
        for (name, value) in [
            ("cleanup.policy", "compacted"),
            ("min.cleanable.dirty.ratio", "1.5"),
            ("compression.type", "none"),
            ("compression.gzip.level", "0"),
            ("message.timestamp.type", "logappendtime"),
            ("min.insync.replicas", "3"),
            ("remote.storage.enable", "true"),
            ("unclean.leader.election.enable", "true"),
        ] {
            let text = topic(name, value);
            assert!(text.starts_with(&format!("Invalid value {value} for ")), "{text}");
        }
    }

    #[test]
    fn a_compaction_lag_has_a_least_below_its_most() {
        let lags = |least: &str, most: &str| {
            let pairs = [("min.compaction.lag.ms", least), ("max.compaction.lag.ms", most)];
            let configs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
            check_topic(&ConfigMap::from(configs), 1).is_ok()
        };
        assert!(lags("5", "5") && !lags("6", "5"));
    }

    #[test]
    fn brokers_take_what_is_dynamic() {
        assert_eq!(check_broker("message.max.bytes", Some("10")), Ok(()));
        assert_eq!(check_broker("log.retention.ms", None), Ok(()));
        assert!(matches!(check_broker("node.id", Some("1")), Err(Refusal::Request(_))));
        assert_eq!(check_broker("log.cleanup.policy", Some("compact")), Ok(()));
        assert!(matches!(check_broker("log.cleanup.policy", Some("x")), Err(Refusal::Config(_))));
        assert!(matches!(check_broker("x", None), Err(Refusal::Config(_))));
        let file = |name: &str, value: &str| {
            check_statics(&ConfigMap::from([(name.to_owned(), value.to_owned())]))
        };
        assert_eq!(file("num.partitions", "6"), Ok(()));
        assert!(file("num.partitions", "0").is_err());
        assert!(file("log.cleanup.policy", "compacted").is_err());
        assert!(file("num.partition", "6").is_err());
    }
}
