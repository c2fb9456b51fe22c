//! The ports: what a group needs of files and of an application. Implemented outside this crate.
//!
//! **Invariant:** nothing here names a file, a topic or a Kafka batch, and nothing names openraft.

use std::io;
use std::ops::Range;

use futures_util::future::BoxFuture;

use crate::entry::{Entry, Reply, Snapshot};
use crate::flushed::Flushed;
use crate::id::{GroupId, LogId};
use crate::membership::StoredMembership;
use crate::vote::{HardState, Vote};

/// Both ends of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// The last entry that was purged, if any was.
    pub purged: Option<LogId>,
    /// The last entry; equals `purged` where every entry was purged.
    pub last: Option<LogId>,
}

/// One group's log.
///
/// Writes come from one owner at a time, in order; reads come from other threads meanwhile. The
/// methods are synchronous because they write to the page cache. An error ends the group.
pub trait LogPort: Send + Sync + 'static {
    /// Both ends of the log.
    fn state(&self) -> io::Result<LogState>;

    /// Appends `entries`, whose indexes follow the last one without a gap. They are readable when
    /// this returns. `flushed` fires, from any thread and possibly before the return, once this node
    /// may count as having them: when they are on disk, or earlier where the port's owner accepts that
    /// a power cut takes them (followers that come back with less are filled again). It is a watermark, so
    /// that completing only the newest suffices.
    fn append(&self, entries: Vec<Entry>, flushed: Flushed) -> io::Result<()>;

    /// Entries from `range.start` on without a gap, below `range.end`. At least one where any
    /// exists in the range; stops once `bytes_max` bytes of payload are exceeded. Empty where
    /// `range.start` was purged or is not yet written.
    fn read(&self, range: Range<u64>, bytes_max: u64) -> io::Result<Vec<Entry>>;

    /// How many bytes the entries of `range` take. An error where they are not all there: only those who ask
    /// are told, the group goes on.
    fn bytes_of(&self, range: Range<u64>) -> io::Result<u64>;

    /// Removes everything after `last` (everything at all for `None`); durable on return.
    fn truncate_after(&self, last: Option<LogId>) -> io::Result<()>;

    /// Forgets everything up to `upto`, inclusive. `upto` may lie beyond the last entry after a
    /// snapshot was installed: the log is then empty and continues behind `upto`. By then
    /// [`StateMachine::install_snapshot`] has returned, which may have seen to it already.
    fn purge(&self, upto: LogId) -> io::Result<()>;

    /// The entries that mark the terms between `first` and `last`, both inclusive: `first`, the
    /// first entry of every later term, and `last`, without repeats.
    fn key_log_ids(&self, first: LogId, last: LogId) -> io::Result<Vec<LogId>>;

    /// The term of the entry at `index` if it was applied here and is held. A leader that has another one
    /// there is refused: others lost what was committed. A port whose entries are always on disk before
    /// they count need not know.
    fn applied_term(&self, index: u64) -> Option<u64> {
        let _ = index;
        None
    }

    /// Whether the log may lack what counted before it was opened. A leader that has nothing to send would
    /// not find out: it is asked to look.
    fn may_lack(&self) -> bool {
        false
    }
}

/// What a group's committed entries mean. Called by one owner at a time, except that
/// [`StateMachine::build_snapshot`] may run beside [`StateMachine::apply`].
pub trait StateMachine: Send + Sync + 'static {
    /// The last applied entry and the last membership among the applied.
    fn applied(&self) -> io::Result<(Option<LogId>, StoredMembership)>;

    /// Applies committed entries in order; one reply per entry. Remembers the last log id and
    /// membership. An error ends the group.
    fn apply(&self, entries: Vec<Entry>) -> io::Result<Vec<Reply>>;

    /// A snapshot as of whatever position the machine chooses, at most the last applied one. The
    /// log is then purged up to it: a machine that must retain entries answers with the position
    /// before them. [`StateMachine::current_snapshot`] returns it from now on.
    fn build_snapshot(&self) -> io::Result<Snapshot>;

    /// Replaces the state by the leader's snapshot; durable on return. Entries behind the snapshot
    /// stay where the log holds its last entry.
    fn install_snapshot(&self, snapshot: Snapshot) -> io::Result<()>;

    /// The last snapshot built or installed.
    fn current_snapshot(&self) -> io::Result<Option<Snapshot>>;
}

/// Hard state of all groups of a node: one shared store that commits for many groups at once.
pub trait HardStateStore: Send + Sync + 'static {
    /// What is remembered of `group`; the default where nothing is.
    fn load(&self, group: GroupId) -> io::Result<HardState>;

    /// Remembers a vote; durable when the future resolves. Where there is no room for it, nothing is promised,
    /// and it is tried again. Any other error ends the group.
    fn save_vote(&self, group: GroupId, vote: Vote) -> BoxFuture<'static, io::Result<()>>;

    /// Remembers the committed position in memory; the store makes a checkpoint now and then.
    fn save_committed(&self, group: GroupId, committed: Option<LogId>);

    /// Remembers whether the group's log was lost and is being refilled; durable when the future
    /// resolves. What was known to be committed is forgotten where it is: that was of the lost log.
    fn save_refilling(&self, group: GroupId, refilling: bool)
    -> BoxFuture<'static, io::Result<()>>;

    /// Remembers whether a newer vote than the one that is remembered may have been given; durable when
    /// the future resolves.
    fn save_unproven(&self, group: GroupId, unproven: bool) -> BoxFuture<'static, io::Result<()>>;

    /// Forgets a deleted group; durable when the future resolves.
    fn forget(&self, group: GroupId) -> BoxFuture<'static, io::Result<()>>;
}
