//! Planning of config changes (KIP-339): operations become values.
//!
//! **Invariant:** what is planned says the new value of each config, whatever the operation was, so
//! that applying it twice is applying it once.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Planner;
use crate::metadata::change::{AlterConfigs, ConfigOp, ConfigTarget};
use crate::metadata::command::Command;
use crate::metadata::configs::{
    self, BrokerLayers, ConfigMap, ConfigType, broker_configs, list_items, topic_config,
};
use crate::metadata::record::ConfigResource;
use crate::metadata::refusal::Refusal;

type Changes = BTreeMap<String, Option<String>>;

impl Planner<'_> {
    pub(super) fn alter_configs(&mut self, alter: AlterConfigs) -> Result<Command, Refusal> {
        match alter.target {
            ConfigTarget::Topic(name) => self.alter_topic(&name, alter.ops),
            ConfigTarget::Broker(id) => {
                if !self.image.brokers.contains_key(&id) {
                    return Err(Refusal::UnknownBroker(id));
                }
                let now = self.image.broker_config(id).clone();
                let changes = self.broker_changes(&now, alter.ops)?;
                apply(
                    Arc::make_mut(&mut self.image).broker_configs.entry(id).or_default(),
                    &changes,
                );
                Ok(Command::AlterConfigs { resource: ConfigResource::Broker(id), changes })
            }
            ConfigTarget::Cluster => {
                let now = self.image.cluster_configs.clone();
                let changes = self.broker_changes(&now, alter.ops)?;
                apply(&mut Arc::make_mut(&mut self.image).cluster_configs, &changes);
                Ok(Command::AlterConfigs { resource: ConfigResource::Cluster, changes })
            }
        }
    }

    fn alter_topic(
        &mut self,
        name: &str,
        ops: BTreeMap<String, ConfigOp>,
    ) -> Result<Command, Refusal> {
        let topic = self.topic(name)?;
        let none = ConfigMap::new();
        let mut changes = Changes::new();
        for (key, op) in ops {
            let def = topic_config(&key)
                .ok_or_else(|| Refusal::Config(format!("Unknown topic config name: {key}")))?;
            let layers = BrokerLayers {
                broker: &none,
                cluster: &self.image.cluster_configs,
                statics: self.statics,
            };
            let now = || layers.topic_config(def, &topic.configs).value;
            changes.insert(key.clone(), new_value(&key, def.kind, op, now)?);
        }
        let mut altered = (*topic).clone();
        apply(&mut altered.configs, &changes);
        configs::check_topic(&altered.configs, topic.replication_factor())?;
        Arc::make_mut(&mut self.image).put_topic(Arc::new(altered));
        Ok(Command::AlterConfigs { resource: ConfigResource::Topic(topic.id), changes })
    }

    fn broker_changes(
        &self,
        now: &ConfigMap,
        ops: BTreeMap<String, ConfigOp>,
    ) -> Result<Changes, Refusal> {
        let mut changes = Changes::new();
        for (key, op) in ops {
            let def = broker_configs().get(key.as_str());
            let kind = def.map_or(ConfigType::String, |def| def.kind);
            let default = || def.and_then(|def| def.default).map(str::to_owned);
            let value = new_value(&key, kind, op, || now.get(&key).cloned().or_else(default))?;
            configs::check_broker(&key, value.as_deref())?;
            changes.insert(key, value);
        }
        Ok(changes)
    }
}

fn apply(configs: &mut ConfigMap, changes: &Changes) {
    for (name, value) in changes {
        match value {
            Some(value) => drop(configs.insert(name.clone(), value.clone())),
            None => drop(configs.remove(name)),
        }
    }
}

/// What one operation makes of a config whose value in force is `now`.
fn new_value(
    name: &str,
    kind: ConfigType,
    op: ConfigOp,
    now: impl Fn() -> Option<String>,
) -> Result<Option<String>, Refusal> {
    let check_list = |verb: &str| match kind {
        ConfigType::List => Ok(now().unwrap_or_default()),
        _ => Err(Refusal::Config(format!(
            "Can't {verb} to key {name} because its type is not LIST."
        ))),
    };
    match op {
        ConfigOp::Set(value) => Ok(Some(value)),
        ConfigOp::Delete => Ok(None),
        ConfigOp::Append(more) => {
            let now = check_list("APPEND")?;
            let mut items = list_items(&now);
            for item in list_items(&more) {
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            Ok(Some(items.join(",")))
        }
        ConfigOp::Subtract(less) => {
            let now = check_list("SUBTRACT")?;
            let less = list_items(&less);
            let items: Vec<_> =
                list_items(&now).into_iter().filter(|item| !less.contains(item)).collect();
            Ok(Some(items.join(",")))
        }
    }
}
