//! Topics that come to be because a client asks for them.
//!
//! A creation runs on its own, so that it goes on when the client does not wait; a request waits
//! for it, and for the new partitions' leaders, at most [`GRACE`].
//!
//! **Invariant:** a name is being created at most once at a time on this broker, and at most
//! [`IN_FLIGHT_MAX`] names are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::metadata_port::MetadataPort;
use crate::metadata::{CreateTopic, MetadataImage, Refusal};
use crate::model::PartitionIndex;

/// How long a Metadata request waits for what it asked to be created: a healthy cluster needs a
/// few milliseconds, and clients ask again after about 100 ms.
pub(super) const GRACE: Duration = Duration::from_millis(250);

/// How long a creation is tried for.
const CREATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Most names in creation: what the memory of a broker without a metadata leader is worth.
const IN_FLIGHT_MAX: usize = 1000;

/// Refusals by topic name.
type Refused = BTreeMap<String, Refusal>;

/// The creations under way.
#[derive(Debug)]
pub(super) struct AutoCreation {
    in_flight: Arc<Mutex<BTreeSet<String>>>,
    pub(super) grace: Duration,
}

impl Default for AutoCreation {
    fn default() -> Self {
        Self { in_flight: Arc::default(), grace: GRACE }
    }
}

/// Names that one task is creating; free for others when dropped.
struct Claim {
    in_flight: Arc<Mutex<BTreeSet<String>>>,
    names: Vec<String>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &self.names {
            in_flight.remove(name);
        }
    }
}

impl AutoCreation {
    /// Has `topics` created and waits for them a little. Returns those that are refused; any other
    /// may be there by now, or may be later.
    pub(super) async fn ensure(
        &self,
        port: &Arc<dyn MetadataPort>,
        topics: Vec<CreateTopic>,
    ) -> Refused {
        let names: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
        let (claim, mine) = self.claim(topics);
        let (done, answer) = oneshot::channel();
        if mine.is_empty() {
            drop(done);
        } else {
            tokio::spawn(create(port.clone(), claim, mine, done));
        }
        let settle = async {
            let refused = answer.await.unwrap_or_default();
            let wanted: Vec<&str> =
                names.iter().map(String::as_str).filter(|n| !refused.contains_key(*n)).collect();
            let there =
                |image: &Arc<MetadataImage>| wanted.iter().all(|n| image.topic(n).is_some());
            // A closed channel is a broker that stops: answer with what there is.
            let _ = port.watch().wait_for(there).await;
            let mut leadership = port.leadership();
            while !all_led(&**port, &wanted) && leadership.changed().await.is_ok() {}
            refused
        };
        tokio::time::timeout(self.grace, settle).await.unwrap_or_default()
    }

    /// Takes those topics that nobody is creating.
    fn claim(&self, topics: Vec<CreateTopic>) -> (Claim, Vec<CreateTopic>) {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        let free = |topic: &CreateTopic| {
            in_flight.len() < IN_FLIGHT_MAX && in_flight.insert(topic.name.clone())
        };
        let mine: Vec<_> = topics.into_iter().filter(free).collect();
        let names = mine.iter().map(|topic| topic.name.clone()).collect();
        (Claim { in_flight: self.in_flight.clone(), names }, mine)
    }
}

async fn create(
    port: Arc<dyn MetadataPort>,
    claim: Claim,
    topics: Vec<CreateTopic>,
    done: oneshot::Sender<Refused>,
) {
    let answers = port.create_topics(topics, false, CREATION_TIMEOUT).await;
    let mut refused = Refused::new();
    match answers {
        Ok(answers) => {
            for (name, answer) in claim.names.iter().zip(answers) {
                match answer {
                    Ok(_) => {
                        tracing::info!(topic = %name, "topic created because it was asked for")
                    }
                    // Somebody was faster: it will be in the image.
                    Err(Refusal::TopicExists(_)) => {}
                    Err(refusal) => {
                        tracing::warn!(topic = %name, %refusal, "topic not auto-created");
                        refused.insert(name.clone(), refusal);
                    }
                }
            }
        }
        Err(error) => tracing::warn!(topics = ?claim.names, %error, "topics not auto-created"),
    }
    drop(claim);
    // The request that asked may have stopped waiting.
    let _ = done.send(refused);
}

/// Whether each partition of the topics has a leader that is alive.
fn all_led(port: &dyn MetadataPort, names: &[&str]) -> bool {
    let (image, alive) = (port.image(), port.alive());
    names.iter().filter_map(|name| image.topic(name)).all(|topic| {
        (0..).zip(&topic.partitions).all(|(index, _)| {
            let leader = port.leader_of(topic.id, PartitionIndex(index));
            leader.is_some_and(|(leader, _)| alive.contains(&leader))
        })
    })
}
