//! Keeps this broker registered.
//!
//! **Invariant:** level-triggered: whenever the image does not show this broker as it is, it
//! registers, until the image does.

use std::time::Duration;

use super::command::Command;
use super::error::MetadataError;
use super::handle::Metadata;
use super::record::BrokerRegistration;

/// How long one try may take before the next; a try outlives changes of leadership.
const TRY: Duration = Duration::from_secs(10);

/// Between a failed try and the next: a failure may come at once.
const PAUSE: Duration = Duration::from_millis(500);

impl Metadata {
    /// Registers this broker. Returns once the image of this node shows it.
    ///
    /// # Errors
    /// [`MetadataError::Closed`] if the metadata group ends first.
    pub async fn register(&self, broker: &BrokerRegistration) -> Result<(), MetadataError> {
        debug_assert_eq!(broker.id, self.broker());
        loop {
            if self.image().brokers.get(&broker.id) == Some(broker) {
                return Ok(());
            }
            match self.submit(Command::RegisterBroker(broker.clone()), TRY).await {
                Ok(reply) => tracing::debug!(?reply, "registered this broker"),
                Err(MetadataError::Closed) => return Err(MetadataError::Closed),
                Err(error) => {
                    tracing::warn!(%error, "cannot register this broker yet, trying again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Registers this broker now and again whenever the image loses or changes its registration.
    /// Returns when the metadata group has ended.
    pub async fn stay_registered(self, broker: BrokerRegistration) {
        let mut images = self.watch();
        while self.register(&broker).await.is_ok() {
            let gone =
                images.wait_for(|image| image.brokers.get(&broker.id) != Some(&broker)).await;
            if gone.is_err() {
                return;
            }
        }
    }
}
