//! A state machine in memory that remembers the bytes it applied.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::entry::{Entry, Payload, Reply, Snapshot};
use crate::id::LogId;
use crate::membership::StoredMembership;
use crate::port::StateMachine;

#[derive(Clone, Debug, Default)]
struct Position {
    applied: Option<LogId>,
    membership: StoredMembership,
}

#[derive(Debug, Default)]
struct State {
    now: Position,
    /// After each applied entry, the position then.
    history: Vec<Position>,
    snapshot: Option<Snapshot>,
    /// Snapshots are taken here rather than at the last applied entry.
    retained: Option<LogId>,
}

/// A [`StateMachine`] in memory: survives its group, not the process. It replies with the count of
/// payloads applied before. Its snapshots hold no payloads: like a partition's, they only say
/// where the retained log begins.
#[derive(Debug)]
pub struct MemMachine {
    state: Mutex<State>,
    payloads: watch::Sender<Arc<Vec<Bytes>>>,
}

impl Default for MemMachine {
    fn default() -> Self {
        Self { state: Mutex::default(), payloads: watch::Sender::new(Arc::default()) }
    }
}

impl MemMachine {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every payload applied so far, in order.
    pub fn payloads(&self) -> watch::Receiver<Arc<Vec<Bytes>>> {
        self.payloads.subscribe()
    }

    /// Takes snapshots at `retained`, an applied position, from now on.
    pub fn retain_from(&self, retained: LogId) {
        self.state().retained = Some(retained);
    }
}

impl StateMachine for MemMachine {
    fn applied(&self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let now = self.state().now.clone();
        Ok((now.applied, now.membership))
    }

    fn apply(&self, entries: Vec<Entry>) -> io::Result<Vec<Reply>> {
        let mut state = self.state();
        let mut replies = Vec::with_capacity(entries.len());
        for entry in entries {
            state.now.applied = Some(entry.log_id);
            replies.push(match entry.payload {
                Payload::Blank => Reply::None,
                Payload::Membership(membership) => {
                    let log_id = Some(entry.log_id);
                    state.now.membership = StoredMembership { log_id, membership };
                    Reply::None
                }
                Payload::Data(data) => {
                    let mut before = 0;
                    self.payloads.send_modify(|payloads| {
                        before = payloads.len() as u64;
                        Arc::make_mut(payloads).push(data.bytes);
                    });
                    Reply::Position(before)
                }
            });
            let now = state.now.clone();
            state.history.push(now);
        }
        Ok(replies)
    }

    fn build_snapshot(&self) -> io::Result<Snapshot> {
        let mut state = self.state();
        let at = match state.retained {
            None => state.now.clone(),
            Some(retained) => {
                let found = state.history.iter().find(|past| past.applied == Some(retained));
                found.cloned().ok_or_else(|| io::Error::other("retained from nowhere"))?
            }
        };
        let id = at.applied.map_or_else(|| "none".to_owned(), |applied| applied.to_string());
        let Position { applied: last, membership } = at;
        let snapshot = Snapshot { last, membership, id, bytes: Bytes::from_static(b"mem") };
        state.snapshot = Some(snapshot.clone());
        Ok(snapshot)
    }

    fn install_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        let mut state = self.state();
        state.now = Position { applied: snapshot.last, membership: snapshot.membership.clone() };
        let now = state.now.clone();
        state.history = vec![now];
        state.snapshot = Some(snapshot);
        Ok(())
    }

    fn current_snapshot(&self) -> io::Result<Option<Snapshot>> {
        Ok(self.state().snapshot.clone())
    }
}
