//! Which brokers and topic, with which settings.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

/// How long a request that is no load may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Target {
    /// Brokers to ask first, HOST:PORT,…
    #[arg(long)]
    bootstrap: String,
    /// An existing topic
    #[arg(long)]
    pub(crate) topic: String,
    /// A setting of librdkafka; the others keep their defaults
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    settings: Vec<(String, String)>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is expected")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl Target {
    /// What a client of these brokers is made from.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        for (key, value) in &self.settings {
            config.set(key, value);
        }
        config
    }

    /// A consumer that commits nothing; without `group` it joins none.
    ///
    /// # Errors
    /// The client refuses the settings.
    pub(crate) fn consumer(&self, group: Option<&str>) -> Result<BaseConsumer> {
        self.config()
            // Required by the client even where none is joined.
            .set("group.id", group.unwrap_or("none"))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", if group.is_some() { "earliest" } else { "error" })
            .create()
            .context("making a consumer")
    }

    /// The topic's partitions, in order.
    ///
    /// # Errors
    /// No broker answers, or the topic is not there.
    pub(crate) fn partitions(&self, consumer: &BaseConsumer) -> Result<Vec<i32>> {
        let metadata = consumer.fetch_metadata(Some(&self.topic), PATIENCE)?;
        let found = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let mut partitions: Vec<i32> =
            found.map_or(&[][..], |topic| topic.partitions()).iter().map(|p| p.id()).collect();
        ensure!(!partitions.is_empty(), "the topic {} has no partitions", self.topic);
        partitions.sort_unstable();
        Ok(partitions)
    }
}
