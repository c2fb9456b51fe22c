//! Consensus for Jackdaw: many Raft groups of a node over one connection per pair of nodes.
//!
//! The contract, in steps:
//!
//! 1. **A node** is started once per process with [`RaftNode::start`]: it listens for peers, dials
//!    those of a greater id, and refuses whoever names another cluster, node or protocol version.
//! 2. **A group** is opened with [`RaftNode::open_group`] over three ports, which the application
//!    implements: a [`LogPort`] (one log), a [`StateMachine`] (what its entries mean), and the
//!    node's shared [`HardStateStore`] (votes of all groups). After a restart a group is opened over
//!    the same ports and finds its members in its log.
//! 3. **A new group** is told its first voters with [`RaftNode::found_group`] before it is opened, or
//!    with [`Group::initialize`] afterwards, at the price of an election that fails. Every voter may
//!    say so. A lone voter elects itself, in milliseconds.
//! 4. **Writing**: [`Group::propose`] hands [`Data`] to the leader's replica. Its bytes become a log
//!    entry: [`LogPort::append`] here and, as the same bytes, on every follower. [`Flushed::done`]
//!    says that they are on disk. Once a majority's are, the entry is committed, and
//!    [`StateMachine::apply`] gets it on every replica, in log order, exactly once per log.
//! 5. **The answer**: the proposal's receiver resolves with what `apply` replied. [`ProposeError`]
//!    says whether a failed proposal certainly was not appended (`NotLeader`, `Unavailable`,
//!    `Shutdown`) or may yet be committed (`Uncertain`).
//! 6. **Reading**: serve linearizable reads on the leader after [`Group::read_barrier`]; a new
//!    leader is ready when [`GroupStatus::leader_ready`] is set.
//! 7. **Retention**: [`Group::snapshot`] asks the machine for a snapshot at a position that *it*
//!    chooses, and purges the log up to that position. A replica that lacks purged entries receives
//!    the snapshot as one message, then the entries behind it.
//! 8. **Failure**: an error of a port ends its group ([`GroupStatus::fault`]); other groups go on.
//!    A peer that falls silent is disconnected, and groups that it led elect anew.
//! 9. **Who leads**: nodes announce what they lead; [`RaftNode::leader_of`] answers for every group
//!    of the cluster, also for those without a replica here.
//! 10. **Calls**: [`RaftNode::call`] carries the application's own requests over the same
//!     connections, with a deadline.
//! 11. **Loss**: a replica that has voted but finds its log empty has lost it. It receives the leader's,
//!     and votes again only once it has all that may have been committed with its help
//!     ([`Group::suffrage`]). One whose vote is lost takes no part before every other voter has told it
//!     its term.
//! 12. **Handing over**: [`RaftNode::hand_over`] gives away what a node leads before it stops; by itself it
//!     gives groups back to the nodes that are preferred for them, and [`RaftNode::hand_to_preferred`] does so
//!     at once.
//! 13. **The end**: [`RaftNode::close_group`] and [`RaftNode::shutdown`] return when no port is in
//!     use any more.
//!
//! Terms are leader epochs: one leader per term, and only a term's first entry is
//! [`Payload::Blank`]. The clocks that matter are monotonic and local; nothing depends on the time
//! of day.
//!
//! **Invariant:** openraft serves all of this and shows nowhere in the public face. No file, topic
//! or Kafka batch is known here.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adapter;
mod blocking;
mod call;
mod canvass;
mod codec;
mod counts;
mod entry;
mod error;
mod flushed;
mod founding;
mod group;
mod handover;
mod id;
mod inbound;
mod incomplete;
mod lag;
mod lane;
mod leadership;
mod liveness;
mod membership;
mod net;
mod node;
mod options;
mod port;
mod refill;
mod registry;
mod standing;
mod status;
mod status_watch;
mod stir;
mod succession;
mod suffrage;
mod transport;
mod turns;
mod vote;
mod watcher;
mod wire;

#[cfg(any(test, feature = "conformance"))]
pub mod testing;
#[cfg(test)]
mod tests;

use jackdaw_mutant as mutant;

pub use blocking::{apart, blocking};
pub use futures_util::future::BoxFuture;

pub use call::CallHandler;
pub use codec::DecodeError;
pub use counts::NodeCounts;
pub use entry::{Applied, Data, Entry, Payload, Reply, Snapshot};
pub use error::{CallError, Ended, HandoverError, ProposeError, RaftError};
pub use flushed::Flushed;
pub use group::Group;
pub use id::{ClusterId, GroupId, LogId, NodeId};
pub use lag::Lag;
pub use membership::{Membership, StoredMembership};
pub use net::{Bound, Connect, Connection, Listener, Network};
pub use node::RaftNode;
pub use options::{Incoming, Limits, NodeOptions, Room, Timing};
pub use port::{HardStateStore, LogPort, LogState, StateMachine};
pub use status::{GroupStatus, Leadership, PeerStatus, Role};
pub use status_watch::StatusWatch;
pub use suffrage::Suffrage;
pub use vote::{HardState, Vote};
