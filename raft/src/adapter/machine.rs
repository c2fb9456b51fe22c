//! openraft's state machine and snapshot builder over a [`StateMachine`].

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{OptionalSend, RaftSnapshotBuilder, SnapshotMeta};
use tokio::sync::{mpsc, watch};

use super::types::*;
use crate::blocking::blocking;
use crate::entry::{Entry, Payload, Reply, Snapshot};
use crate::id::LogId;
use crate::port::StateMachine;

/// Entries applied in one call, at most, and bytes of them.
const BATCH_ENTRIES_MAX: usize = 1_024;
const BATCH_BYTES_MAX: usize = 8 << 20;

/// A snapshot on its way through openraft, which keeps room for 4,096 commands in each group's core, each as
/// large as one that has a snapshot in it: half a megabyte less for a replica that is written to.
pub(super) type BoxedSnapshot = Box<Snapshot>;
type RaftSnapshot = openraft::Snapshot<
    openraft::vote::leader_id_std::CommittedLeaderId<u64>,
    crate::id::NodeId,
    (),
    BoxedSnapshot,
>;
type RaftSnapshotMeta =
    SnapshotMeta<openraft::vote::leader_id_std::CommittedLeaderId<u64>, crate::id::NodeId, ()>;

/// The outcome of the last snapshot build: how many there were, and where the last one stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SnapshotBuilt {
    pub(crate) count: u64,
    pub(crate) last: Option<LogId>,
}

/// One group's state machine as openraft sees it; also its snapshot builder.
#[derive(Clone)]
pub(crate) struct Machine {
    port: Arc<dyn StateMachine>,
    built: Arc<watch::Sender<SnapshotBuilt>>,
    /// Held by whatever may still use the port; the group is closed when all are dropped.
    _alive: mpsc::Sender<Infallible>,
}

impl Machine {
    pub(crate) fn new(
        port: Arc<dyn StateMachine>,
        built: Arc<watch::Sender<SnapshotBuilt>>,
        alive: mpsc::Sender<Infallible>,
    ) -> Self {
        Self { port, built, _alive: alive }
    }
}

impl RaftStateMachine<C> for Machine {
    type SnapshotData = BoxedSnapshot;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<RaftLogId>, RaftStoredMembership)> {
        let (applied, membership) = self.port.applied()?;
        Ok((applied.map(to_log_id), to_stored(membership).map_err(io::Error::other)?))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<C>>> + Unpin + OptionalSend,
    {
        let (mut batch, mut responders, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let entry: Entry = from_entry(entry);
            if let Payload::Data(data) = &entry.payload {
                bytes += data.bytes.len();
            }
            batch.push(entry);
            responders.push(responder);
            if batch.len() >= BATCH_ENTRIES_MAX || bytes >= BATCH_BYTES_MAX {
                let full = std::mem::take(&mut batch);
                answer(self.port.apply(full)?, &mut responders)?;
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            answer(self.port.apply(batch)?, &mut responders)?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &RaftSnapshotMeta,
        snapshot: BoxedSnapshot,
    ) -> io::Result<()> {
        let snapshot = Snapshot {
            last: meta.last_log_id.as_ref().map(from_log_id),
            membership: from_stored(&meta.last_membership),
            ..*snapshot
        };
        blocking(|| self.port.install_snapshot(snapshot))
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<RaftSnapshot>> {
        self.port.current_snapshot()?.map(to_snapshot).transpose()
    }
}

impl RaftSnapshotBuilder<C> for Machine {
    type SnapshotData = BoxedSnapshot;

    async fn build_snapshot(&mut self) -> io::Result<RaftSnapshot> {
        let snapshot = blocking(|| self.port.build_snapshot())?;
        let last = snapshot.last;
        let snapshot = to_snapshot(snapshot)?;
        self.built.send_modify(|built| {
            *built = SnapshotBuilt { count: built.count + 1, last };
        });
        Ok(snapshot)
    }
}

type Responders = Vec<Option<openraft::storage::ApplyResponder<C>>>;

fn answer(replies: Vec<Reply>, responders: &mut Responders) -> io::Result<()> {
    if replies.len() != responders.len() {
        let text = format!("{} replies to {} applied entries", replies.len(), responders.len());
        return Err(io::Error::other(text));
    }
    for (reply, responder) in replies.into_iter().zip(responders.drain(..)) {
        if let Some(responder) = responder {
            responder.send(reply);
        }
    }
    Ok(())
}

pub(super) fn to_snapshot(snapshot: Snapshot) -> io::Result<RaftSnapshot> {
    let meta = SnapshotMeta {
        last_log_id: snapshot.last.map(to_log_id),
        last_membership: to_stored(snapshot.membership.clone()).map_err(io::Error::other)?,
    };
    Ok(RaftSnapshot { meta, snapshot: Box::new(snapshot) })
}
