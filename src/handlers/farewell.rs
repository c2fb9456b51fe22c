//! Dead leaders that a connection is told of for the last time.
//!
//! librdkafka, told in one answer that a broker is gone and that its partitions have new leaders, takes the
//! partitions from the new ones again, and asks a second later who leads. Told of the broker for ever, it
//! goes on trying to connect to it with growing pauses, and keeps those when the broker is back. So each
//! connection is told of such a broker once more, with the new leaders, and then no longer.
//!
//! **Invariant:** the answers of a connection are settled in the order in which they are sent, however long
//! each of them took.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::oneshot;

use super::lock;
use crate::metadata::Presence;
use crate::model::BrokerId;

/// By broker the end that was told of last. Who was not asked while it was back, as where a client asks now this
/// broker, now that one, still holds an earlier one.
type Told = Arc<Mutex<BTreeMap<BrokerId, Instant>>>;

/// The dead brokers that a connection was told of.
#[derive(Debug, Default)]
pub struct Farewells {
    told: Told,
    /// Resolves when the request that began last is answered.
    last: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Farewells {
    /// The place of a request that begins now.
    pub(super) fn begin(&self) -> Farewell {
        let (answered, after) = oneshot::channel();
        let before = lock(&self.last).replace(after);
        Farewell { before, told: self.told.clone(), _answered: answered }
    }
}

/// The place of one request among those of its connection; dropped when it is answered.
#[derive(Debug)]
pub struct Farewell {
    before: Option<oneshot::Receiver<()>>,
    told: Told,
    _answered: oneshot::Sender<()>,
}

impl Farewell {
    /// Waits until the requests before this one are answered.
    pub(super) async fn turn(&mut self) {
        if let Some(before) = self.before.take() {
            // An error says that it was dropped: that is what is waited for.
            let _ = before.await;
        }
    }

    /// Whether to tell of `broker`: unless it is gone, but only in the first answer since it is leaving.
    pub(super) fn is_told_of(&self, broker: BrokerId, presence: Presence) -> bool {
        match presence {
            Presence::Alive | Presence::Silent => true,
            Presence::Leaving(since) => lock(&self.told).insert(broker, since) != Some(since),
            Presence::Gone => false,
        }
    }
}
