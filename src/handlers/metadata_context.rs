//! What the handlers of metadata APIs share: one per broker.

use std::sync::Arc;
use std::time::Duration;

use super::auto_creation::AutoCreation;
use super::errors::KafkaCode;
use super::metadata_port::{Answers, MetadataPort};
use super::producer_ids::ProducerIds;
use crate::metadata::configs::{BrokerLayers, ConfigMap};
use crate::metadata::{BrokerRegistration, MetadataImage};
use crate::model::BrokerId;
use crate::protocol::ErrorCode;

/// What this broker is and was configured to do.
#[derive(Clone, Debug)]
pub struct BrokerInfo {
    /// This broker's registration: clients see it before the metadata group knows it.
    pub registration: BrokerRegistration,
    /// The cluster's id.
    pub cluster_id: String,
    /// `auto.create.topics.enable`.
    pub auto_create_topics: bool,
    /// What the node's file sets, under Kafka's names: for DescribeConfigs.
    pub static_configs: ConfigMap,
}

impl BrokerInfo {
    /// This broker's id.
    #[must_use]
    pub fn id(&self) -> BrokerId {
        self.registration.id
    }
}

/// Shared by the handlers of metadata APIs.
pub struct MetadataContext {
    /// The cluster's metadata.
    pub port: Arc<dyn MetadataPort>,
    /// This broker.
    pub broker: BrokerInfo,
    /// Topics that are being created because somebody asked for them.
    pub(super) creations: AutoCreation,
    /// This broker's producer ids.
    pub(super) producer_ids: Arc<ProducerIds>,
}

impl MetadataContext {
    /// The handlers' view of a broker.
    #[must_use]
    pub fn new(port: Arc<dyn MetadataPort>, broker: BrokerInfo) -> Self {
        let producer_ids = ProducerIds::new(port.clone());
        Self { port, broker, creations: AutoCreation::default(), producer_ids }
    }

    /// Registered brokers with whether they are alive, by id; this one is among them and alive.
    pub(super) fn brokers(&self) -> Vec<(BrokerRegistration, bool)> {
        let mut brokers = self.port.image().brokers.clone();
        let own = &self.broker.registration;
        brokers.entry(own.id).or_insert_with(|| own.clone());
        let mut alive = self.port.alive();
        alive.insert(own.id);
        let with_life = |broker: BrokerRegistration| {
            let lives = alive.contains(&broker.id);
            (broker, lives)
        };
        brokers.into_values().map(with_life).collect()
    }

    /// The configs that a topic or this broker falls back to.
    pub(super) fn layers<'a>(&'a self, image: &'a MetadataImage) -> BrokerLayers<'a> {
        BrokerLayers {
            broker: image.broker_config(self.broker.id()),
            cluster: &image.cluster_configs,
            statics: &self.broker.static_configs,
        }
    }
}

/// An error of one element of a request: code and words.
pub(super) type ElementError = (ErrorCode, String);

/// The code and its standing words.
pub(super) fn plain(code: ErrorCode) -> ElementError {
    (code, code.message().to_owned())
}

/// `INVALID_REQUEST` with these words.
pub(super) fn invalid(text: impl Into<String>) -> ElementError {
    (ErrorCode::InvalidRequest, text.into())
}

/// The answers to `count` elements; one that covers all of them is given to each.
pub(super) fn spread<T>(answers: Answers<T>, count: usize) -> Vec<Result<T, ElementError>> {
    match answers {
        Ok(answers) => {
            assert_eq!(answers.len(), count, "one answer per element asked for");
            let refused = |answer: Result<T, _>| answer.map_err(|refusal| described(&refusal));
            answers.into_iter().map(refused).collect()
        }
        Err(error) => (0..count).map(|_| Err(described(&error))).collect(),
    }
}

/// A room's error as the client is told it.
pub(super) fn described(error: &(impl KafkaCode + std::fmt::Display)) -> ElementError {
    (error.kafka_code(), error.to_string())
}

/// A request's `timeoutMs`. As in Kafka, a deadline that has passed on arrival (0, negative) does
/// nothing and answers `REQUEST_TIMED_OUT`.
pub(super) fn deadline(timeout_ms: i32) -> Result<Duration, ElementError> {
    match u64::try_from(timeout_ms) {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
        _ => Err(plain(ErrorCode::RequestTimedOut)),
    }
}
