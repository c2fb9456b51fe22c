//! Applying broker registrations and dynamic configs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::State;
use super::pairs::Key;
use crate::metadata::command::CommandReply;
use crate::metadata::record::{BrokerRegistration, ConfigResource};
use crate::metadata::refusal::Refusal;
use crate::model::BrokerId;

/// Sets or removes what `changes` says.
fn alter(configs: &mut BTreeMap<String, String>, changes: BTreeMap<String, Option<String>>) {
    for (name, value) in changes {
        match value {
            Some(value) => drop(configs.insert(name, value)),
            None => drop(configs.remove(&name)),
        }
    }
}

impl State {
    pub(super) fn register_broker(
        &mut self,
        broker: BrokerRegistration,
    ) -> Result<CommandReply, Refusal> {
        if broker.id < BrokerId(0) {
            return Err(Refusal::UnknownBroker(broker.id));
        }
        if self.image.brokers.get(&broker.id) != Some(&broker) {
            self.touched.insert(Key::Broker(broker.id));
            self.image_mut().brokers.insert(broker.id, broker);
        }
        Ok(CommandReply::Done)
    }

    pub(super) fn alter_configs(
        &mut self,
        resource: ConfigResource,
        changes: BTreeMap<String, Option<String>>,
    ) -> Result<CommandReply, Refusal> {
        match resource {
            ConfigResource::Topic(id) => {
                let topic = self.image.topic_by_id(id).ok_or(Refusal::UnknownTopicId(id))?;
                let mut topic = (**topic).clone();
                alter(&mut topic.configs, changes);
                self.image_mut().put_topic(Arc::new(topic));
                self.touched.insert(Key::Topic(id));
            }
            ConfigResource::Broker(id) => {
                let all = &mut self.image_mut().broker_configs;
                let configs = all.entry(id).or_default();
                alter(configs, changes);
                if configs.is_empty() {
                    all.remove(&id);
                }
                self.touched.insert(Key::BrokerConfigs(id));
            }
            ConfigResource::Cluster => {
                alter(&mut self.image_mut().cluster_configs, changes);
                self.touched.insert(Key::ClusterConfigs);
            }
        }
        Ok(CommandReply::Done)
    }
}
