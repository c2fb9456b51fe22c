//! openraft's own storage suite, over our adapter and the ports under test.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tokio::sync::{mpsc, watch};

use crate::adapter::{C, LogStore, Machine, SnapshotBuilt};
use crate::entry::{Entry, Payload};
use crate::flushed::Flushed;
use crate::id::{GroupId, LogId};
use crate::port::{HardStateStore, LogPort, LogState, StateMachine};

/// Fresh, empty ports of one group, and what must outlive them (such as their folder).
pub struct Ports<G> {
    /// The log under test.
    pub log: Arc<dyn LogPort>,
    /// The state machine under test.
    pub machine: Arc<dyn StateMachine>,
    /// The hard state under test.
    pub hard: Arc<dyn HardStateStore>,
    /// Dropped when a test of the suite ends.
    pub guard: G,
}

struct Builder<F> {
    factory: F,
    group: GroupId,
}

impl<F, G> StoreBuilder<C, LogStore, Machine, G> for Builder<F>
where
    F: Fn() -> io::Result<Ports<G>> + Send + Sync,
    G: Send + Sync,
{
    async fn build(&self) -> Result<(G, LogStore, Machine), StorageError<C>> {
        let failed = |error: io::Error| {
            StorageError::from_io_error(
                openraft::ErrorSubject::Store,
                openraft::ErrorVerb::Read,
                error,
            )
        };
        let Ports { log, machine, hard, guard } = (self.factory)().map_err(failed)?;
        let (alive, _) = mpsc::channel(1);
        let log: Arc<dyn LogPort> = Arc::new(FromZero { log, first: AtomicU64::new(0) });
        let log = LogStore::new(self.group, log, hard, 1 << 20, Arc::default(), alive.clone())
            .map_err(failed)?;
        let built = Arc::new(watch::Sender::new(SnapshotBuilt::default()));
        Ok((guard, log, Machine::new(machine, built, alive)))
    }
}

/// Some logs of the suite begin at index 1, which no log of ours does: their missing first entries
/// are written as blanks, and hidden.
struct FromZero {
    log: Arc<dyn LogPort>,
    first: AtomicU64,
}

impl LogPort for FromZero {
    fn state(&self) -> io::Result<LogState> {
        self.log.state()
    }

    fn append(&self, entries: Vec<Entry>, flushed: Flushed) -> io::Result<()> {
        if self.log.state()? == LogState::default() {
            let first = entries.first().map_or(0, |entry| entry.log_id.index);
            self.first.store(first, Ordering::Relaxed);
            let hidden = |index| Entry { log_id: LogId::new(0, index), payload: Payload::Blank };
            let hidden: Vec<_> = (0..first).map(hidden).collect();
            if !hidden.is_empty() {
                self.log.append(hidden, Flushed::ignored())?;
            }
        }
        self.log.append(entries, flushed)
    }

    fn read(&self, range: Range<u64>, bytes_max: u64) -> io::Result<Vec<Entry>> {
        let start = range.start.max(self.first.load(Ordering::Relaxed));
        if start >= range.end { Ok(Vec::new()) } else { self.log.read(start..range.end, bytes_max) }
    }

    fn bytes_of(&self, range: Range<u64>) -> io::Result<u64> {
        self.log.bytes_of(range)
    }

    fn truncate_after(&self, last: Option<LogId>) -> io::Result<()> {
        self.log.truncate_after(last)
    }

    fn purge(&self, upto: LogId) -> io::Result<()> {
        self.log.purge(upto)
    }

    fn key_log_ids(&self, first: LogId, last: LogId) -> io::Result<Vec<LogId>> {
        self.log.key_log_ids(first, last)
    }
}

/// Runs openraft's storage suite; `factory` makes fresh ports of `group` for each of its tests, with
/// a hard state store of their own. Panics where an assertion of the suite fails; an error is a
/// port's own.
pub async fn conformance<F, G>(group: GroupId, factory: F) -> Result<(), String>
where
    F: Fn() -> io::Result<Ports<G>> + Send + Sync,
    G: Send + Sync,
{
    let suite = Suite::test_all(Builder { factory, group }).await;
    suite.map_err(|error| error.to_string())
}
