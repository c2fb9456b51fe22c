//! The answer to an `acks=1` append: given as soon as the leader's own disk has the batch.
//!
//! A leader that was paused or cut off may have been replaced without knowing, and what it has then goes with the
//! next leader's log. Unless it surely leads, the answer is left to the commit, as that of `acks=all`.
//!
//! **Invariant:** it is given once, by whichever comes first.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::lock;
use super::sequencer::Answer;
use crate::model::Offset;

/// Whether this node leads, and no other can have been elected yet.
pub(super) type SurelyLeads = Arc<dyn Fn() -> bool + Send + Sync>;

/// See the file's head.
pub(super) struct EarlyAnswer {
    producer: Mutex<Option<oneshot::Sender<Answer>>>,
    surely_leads: SurelyLeads,
}

impl EarlyAnswer {
    pub(super) fn new(producer: oneshot::Sender<Answer>, surely_leads: SurelyLeads) -> Self {
        Self { producer: Mutex::new(Some(producer)), surely_leads }
    }

    /// The batch, whose first record has the offset `base`, is on this node's disk.
    pub(super) fn synced(&self, base: Offset) {
        if (self.surely_leads)() {
            self.give(Ok(base));
        }
    }

    /// Gives the answer, if none was given.
    pub(super) fn give(&self, answer: Answer) {
        if let Some(producer) = lock(&self.producer).take() {
            // A dropped receiver is a client that went away.
            drop(producer.send(answer));
        }
    }
}

impl fmt::Debug for EarlyAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EarlyAnswer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::partition::PartitionError;

    #[test]
    fn who_may_not_lead_any_more_leaves_it_to_the_commit() {
        let leads = Arc::new(AtomicBool::new(true));
        let ask = || {
            let leads = Arc::clone(&leads);
            let (producer, answer) = oneshot::channel();
            (EarlyAnswer::new(producer, Arc::new(move || leads.load(Ordering::Relaxed))), answer)
        };
        let (early, mut answer) = ask();
        early.synced(Offset(7));
        early.give(Err(PartitionError::NotLeader));
        assert_eq!(answer.try_recv().unwrap().unwrap(), Offset(7));

        leads.store(false, Ordering::Relaxed);
        let (early, mut answer) = ask();
        early.synced(Offset(7));
        assert!(answer.try_recv().is_err(), "no answer yet");
        early.give(Err(PartitionError::NotLeader));
        assert!(matches!(answer.try_recv().unwrap(), Err(PartitionError::NotLeader)));
    }
}
