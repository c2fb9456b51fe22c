//! One replicated partition: Raft's port to the segments, the leader's sequencer, the reader.
//!
//! ```text
//! produce ─► Partition::append ─► Sequencer ─► Group::propose ─► PartitionLog ─► storage::Log
//!                                                    │ committed
//! fetch  ◄─ Partition::read ◄─ high watermark ◄─ PartitionMachine ─► start offset, snapshot
//! ```
//!
//! **Invariant:** nothing below the high watermark is ever truncated, and nothing above it is served.
//! **Elsewhere:** consensus (`jackdaw-raft`), files (`storage`), which partitions run (`broker`).

mod admission;
mod applied;
mod command;
mod compaction;
mod damage;
mod early_answer;
mod envelope;
mod error;
mod limits;
mod producer_codec;
mod producer_state;
mod raft_log;
mod rebuild;
mod replica;
mod retention;
mod room;
mod sequencer;
mod set;
mod snapshot;
mod state_machine;
mod strangers;
mod timestamps;

#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use error::{OpenError, PartitionError};
pub use limits::RecordLimits;
pub use producer_state::SequenceError;
pub use rebuild::Rebuilt;
pub use replica::{
    Acks, AppendHandle, Found, OpenPartition, Partition, READY_WAIT, Read, TimestampQuery,
};
pub use retention::{PurgeKey, PurgeSender, RetentionPolicy};
pub use room::fits_full_disk;
pub use set::PartitionSet;

/// Locks state that stays consistent even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
