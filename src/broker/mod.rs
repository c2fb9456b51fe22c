//! Wiring: makes the rooms into a running node.
//!
//! **Invariant:** nothing here decides anything that a room could decide; it opens, connects, follows
//! the metadata, and closes.

mod admin_backend;
mod compaction;
mod descriptors;
mod group_store;
mod hard_states;
mod health;
mod listeners;
mod node;
mod options;
mod quarantine;
mod reconciler;
mod retention;
mod short_logs;
mod sparing;
mod surroundings;
mod unknown_folders;
mod verify;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use listeners::Listeners;
pub use node::{Node, serve};
pub use surroundings::{Bind, Surroundings};
pub use verify::{Checked, CheckedPartition, verify};

/// Locks state that stays consistent even if a holder panicked.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
