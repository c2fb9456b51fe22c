//! Who leads what, shared by all connections of a run, and asked again when one of them wants to know.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use crate::cli::client::{Client, ClientFailure};

/// Shortest time from one question to the next.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// One topic of a cluster, as its metadata said last.
pub(super) struct View {
    topic: String,
    leaders: RefCell<BTreeMap<i32, i32>>,
    addresses: RefCell<BTreeMap<i32, String>>,
    version: watch::Sender<u64>,
    wanted: Notify,
}

impl View {
    /// What `client` knows of `topic`.
    pub(super) fn new(client: &Client, topic: &str) -> Self {
        let view = Self {
            topic: topic.to_owned(),
            leaders: RefCell::default(),
            addresses: RefCell::default(),
            version: watch::Sender::new(0),
            wanted: Notify::new(),
        };
        view.learn(client);
        view
    }

    fn learn(&self, client: &Client) {
        if let Some(topic) = client.topics.get(&self.topic) {
            let led = topic.partitions.iter();
            let led = led.filter_map(|(index, partition)| Some((*index, partition.leader?)));
            *self.leaders.borrow_mut() = led.collect();
        }
        *self.addresses.borrow_mut() = client.brokers.clone();
        self.version.send_modify(|version| *version += 1);
    }

    /// The leader of each partition that has one.
    pub(super) fn leaders(&self) -> BTreeMap<i32, i32> {
        self.leaders.borrow().clone()
    }

    /// The brokers that lead a partition.
    pub(super) fn leading(&self) -> Vec<i32> {
        let mut brokers: Vec<i32> = self.leaders.borrow().values().copied().collect();
        brokers.sort_unstable();
        brokers.dedup();
        brokers
    }

    /// Where a broker listens, if it is in the metadata.
    pub(super) fn address(&self, broker: i32) -> Option<String> {
        self.addresses.borrow().get(&broker).cloned()
    }

    /// Changes with each answer to a question.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Has metadata asked for again, soon.
    pub(super) fn ask(&self) {
        self.wanted.notify_one();
    }

    /// Asks whenever somebody wants to know. Never ends.
    pub(super) async fn keep(&self, client: &tokio::sync::Mutex<Client>) {
        let mut next = Instant::now();
        loop {
            self.wanted.notified().await;
            sleep_until(next).await;
            let mut client = client.lock().await;
            let answer: Result<(), ClientFailure> =
                client.look(Some(std::slice::from_ref(&self.topic))).await;
            next = Instant::now() + ASK_EVERY;
            match answer {
                Ok(()) => self.learn(&client),
                // Whoever waits for the answer gives up by a time of its own.
                Err(_) => self.ask(),
            }
        }
    }
}
