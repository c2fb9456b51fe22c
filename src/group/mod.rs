//! Consumer groups: the classic protocol's state machine and the coordinator around it.
//!
//! ```text
//! handlers ──► Coordinator ──► ClassicGroup   pure: (state, event, now) → effects
//!                  │  ▲
//!                  ▼  │ one timer, one commit queue, waiting requests
//!              GroupStore                     implemented over the metadata group
//! ```
//!
//! **Invariant:** [`ClassicGroup`] does no I/O, reads no clock and draws no random number.
//! **Invariant:** whatever a client was told about a generation (its number, its members, its
//! assignments) is in the [`GroupStore`] before the answer leaves.
//!
//! Deliberately elsewhere: Kafka's bytes (`handlers`), the replicated records (`metadata`).

mod classic;
mod coordinator;
mod error;
mod expiry;
mod message;
mod options;
mod record;
mod store;
mod subscription;
mod ticks;

#[cfg(test)]
pub(crate) mod memory_store;

pub use classic::{ClassicGroup, Effects, GroupState, Token, Write};
pub use coordinator::{Coordinator, CoordinatorParts};
pub use error::GroupError;
pub use expiry::{ExpiryView, expired_offsets};
pub use message::{
    CommitItem, CommitRequest, GroupListing, GroupSummary, JoinAnswer, JoinMember, JoinRefusal,
    JoinRequest, LeaveMember, MemberClaim, MemberSummary, SyncAnswer, SyncRequest,
};
pub use options::GroupOptions;
pub use record::{CommittedOffset, GroupRecord, MemberRecord, OffsetCommit, OffsetEntry};
pub use store::{GroupStore, Loaded, StoreError, Term, TopicLookup};
pub use ticks::{ManualTicks, MonotonicTicks, Now, Tick, Ticks};
