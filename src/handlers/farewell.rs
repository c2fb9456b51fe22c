//! Dead leaders that a connection is told of for the last time.
//!
//! librdkafka, told in one answer that a broker is gone and that its partitions have new leaders, takes the
//! partitions from the new ones again, and asks a second later who leads. Told of the broker for ever, it
//! goes on trying to connect to it with growing pauses, and keeps those when the broker is back. So each
//! connection is told of such a broker once more, with the new leaders, and then no longer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::BrokerId;

/// The dead brokers that a connection was told of. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Farewells(Arc<Mutex<BTreeSet<BrokerId>>>);

impl Farewells {
    /// Whether to tell of `broker`: if it is alive, or if it died as a leader a moment ago and this is the
    /// first answer since.
    pub(super) fn is_told_of(&self, broker: BrokerId, alive: bool, in_session: bool) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if alive {
            told.remove(&broker);
        }
        alive || (in_session && told.insert(broker))
    }
}
