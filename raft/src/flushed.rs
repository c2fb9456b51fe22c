//! The answer to an append: its entries are on disk.
//!
//! **Invariant:** a vote is saved only after every earlier append of its group has been answered,
//! so that a group's writes reach the disk in the order in which Raft made them.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::sync::watch;

use crate::adapter::RaftFlushed;

/// Must be [`done`](Flushed::done) once the append's entries are on disk. A watermark: it stands for
/// all earlier appends of its group as well, which may then be dropped.
pub struct Flushed {
    target: Target,
}

enum Target {
    Group { openraft: RaftFlushed, number: u64, order: Arc<WriteOrder> },
    Function(Box<dyn FnOnce(io::Result<()>) + Send>),
}

impl Flushed {
    /// Calls `function` when done. For tests of a [`LogPort`](crate::LogPort).
    pub fn new(function: impl FnOnce(io::Result<()>) + Send + 'static) -> Self {
        Self { target: Target::Function(Box::new(function)) }
    }

    /// A token that nobody waits for.
    pub fn ignored() -> Self {
        Self::new(|_| ())
    }

    pub(crate) fn of_group(openraft: RaftFlushed, order: &Arc<WriteOrder>) -> Self {
        let number = order.begin();
        Self { target: Target::Group { openraft, number, order: order.clone() } }
    }

    /// The entries are on disk, or can never be: an error ends the group.
    pub fn done(self, result: io::Result<()>) {
        match self.target {
            // The order first: once openraft knows, the group's next write may come at once.
            Target::Group { openraft, number, order } => {
                order.end(number);
                openraft.io_completed(result);
            }
            Target::Function(function) => function(result),
        }
    }
}

impl fmt::Debug for Flushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Flushed")
    }
}

/// Numbers a group's appends, so that a vote can wait for those before it.
#[derive(Debug)]
pub(crate) struct WriteOrder {
    begun: watch::Sender<u64>,
    ended: watch::Sender<u64>,
}

impl WriteOrder {
    pub(crate) fn new() -> Self {
        Self { begun: watch::Sender::new(0), ended: watch::Sender::new(0) }
    }

    fn begin(&self) -> u64 {
        let mut number = 0;
        self.begun.send_modify(|begun| {
            *begun += 1;
            number = *begun;
        });
        number
    }

    fn end(&self, number: u64) {
        self.ended.send_if_modified(|ended| {
            let newer = *ended < number;
            *ended = (*ended).max(number);
            newer
        });
    }

    /// Resolves once every append begun so far has ended.
    pub(crate) async fn settled(&self) {
        let begun = *self.begun.borrow();
        let mut ended = self.ended.subscribe();
        // The sender lives in self: it cannot close while this waits.
        let _ = ended.wait_for(|ended| *ended >= begun).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_later_append_stands_for_earlier_ones() {
        let order = WriteOrder::new();
        assert!(order.settled().now_or_never().is_some());
        let (first, second) = (order.begin(), order.begin());
        assert!(order.settled().now_or_never().is_none());
        order.end(second);
        assert!(order.settled().now_or_never().is_some());
        order.end(first);
        assert!(order.settled().now_or_never().is_some());
        order.begin();
        assert!(order.settled().now_or_never().is_none());
    }
}
