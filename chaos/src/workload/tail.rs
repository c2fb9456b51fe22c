//! A consumer without a group (`assign`) that reads along from the beginning.
//!
//! It sees records at the moment when they become readable, and nobody else decides where it goes on: a value
//! that is read and later replaced shows as an inconsistent offset, one that is left out as a skip.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::plain_consumer::{plain_consumer, record_poll};
use crate::history::Recorder;

const POLL: Duration = Duration::from_millis(100);

/// At work in its own thread until it is finished or dropped.
#[derive(Debug)]
pub struct Tail {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tail {
    /// Begins to read `partitions` of `topic`.
    ///
    /// # Errors
    /// The client refuses.
    pub fn start(
        bootstrap: &str,
        topic: &str,
        partitions: &[i32],
        name: &str,
        recorder: &Arc<Recorder>,
    ) -> Result<Self> {
        let client = plain_consumer(bootstrap, name, recorder)?;
        let mut assignment = TopicPartitionList::new();
        for partition in partitions {
            assignment.add_partition_offset(topic, *partition, Offset::Offset(0))?;
        }
        client.assign(&assignment)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, name, recorder) = (stop.clone(), name.to_owned(), recorder.clone());
        let thread = thread::Builder::new()
            .name(format!("consumer {name}"))
            .spawn(move || read_until(&stopped, &client, &name, &recorder))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends the work.
    ///
    /// # Errors
    /// Its thread panicked.
    pub fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("only finish takes it");
        thread.join().map_err(|_| anyhow!("a consumer's thread panicked"))
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn read_until(stop: &AtomicBool, client: &BaseConsumer, name: &str, recorder: &Recorder) {
    while !stop.load(Ordering::Relaxed) {
        // Lost connections are what a run is about.
        let Some(Ok(message)) = client.poll(POLL) else { continue };
        record_poll(recorder, name, 0, &message);
    }
}
