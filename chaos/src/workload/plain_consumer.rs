//! A consumer without a group (`assign`), and the line of the history for what a consumer was given.

use anyhow::{Context, Result};
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{BorrowedMessage, Message as _};

use super::client_config;
use crate::history::{Event, Poll, Recorder};

/// One called `name`, which is assigned nothing yet.
pub(super) fn plain_consumer(
    bootstrap: &str,
    name: &str,
    recorder: &Recorder,
) -> Result<BaseConsumer> {
    client_config(bootstrap)
        // Required by the client even though no group is joined and nothing is committed.
        .set("group.id", format!("{}-{name}", recorder.run()))
        .set("enable.auto.commit", "false")
        // A reset would hide a missing offset.
        .set("auto.offset.reset", "error")
        .set("check.crcs", "true")
        .set("fetch.wait.max.ms", "100")
        .create()
        .context("making a consumer")
}

/// Records that `consumer`, which was given partitions `assignment` times, polled a message.
pub(super) fn record_poll(
    recorder: &Recorder,
    consumer: &str,
    assignment: u64,
    message: &BorrowedMessage<'_>,
) {
    recorder.record(&Event::Poll(Poll {
        consumer: consumer.to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        value: String::from_utf8_lossy(message.payload().unwrap_or_default()).into(),
        assignment,
        at_us: recorder.now_us(),
    }));
}
