//! The state machine of the metadata Raft group: applies commands, keeps them, publishes images.
//!
//! **Invariant:** state, position and store move together under `writing`; readers take only the
//! short `shared` lock. The image of a batch is published before its position, so who waits for a
//! position finds its image.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use jackdaw_raft::{Entry, LogId, Payload, Reply, Snapshot, StateMachine, StoredMembership};
use tokio::sync::watch;

use super::command::{CommandReply, Envelope};
use super::image::MetadataImage;
use super::snapshot::{decode_state, encode_state};
use super::state::State;
use super::store::{self, Loaded, PairStore, Position};

/// The state and where it stands.
struct Shared {
    state: State,
    position: Position,
}

/// The metadata group's [`StateMachine`].
pub struct MetadataMachine {
    store: Arc<dyn PairStore>,
    /// Held while state and store change; says whether a snapshot was ever taken.
    writing: Mutex<bool>,
    shared: RwLock<Shared>,
    image: watch::Sender<Arc<MetadataImage>>,
    applied: watch::Sender<Option<LogId>>,
}

impl MetadataMachine {
    /// Reads the state from its store.
    ///
    /// # Errors
    /// Those of the disk; `InvalidData` for pairs that this build cannot read.
    pub fn open(store: Arc<dyn PairStore>) -> io::Result<Self> {
        let Loaded { state, position, has_snapshot } = store::load(&*store)?;
        Ok(Self {
            image: watch::Sender::new(state.image().clone()),
            applied: watch::Sender::new(position.applied),
            writing: Mutex::new(has_snapshot),
            shared: RwLock::new(Shared { state, position }),
            store,
        })
    }

    /// Reads the state under a short lock. `read` must not wait for anything.
    pub fn with_state<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.shared.read().unwrap_or_else(PoisonError::into_inner).state)
    }

    /// The newest image and all that follow.
    #[must_use]
    pub fn images(&self) -> watch::Receiver<Arc<MetadataImage>> {
        self.image.subscribe()
    }

    /// The last applied entry, now and as it moves.
    #[must_use]
    pub fn positions(&self) -> watch::Receiver<Option<LogId>> {
        self.applied.subscribe()
    }

    /// Bytes of commands applied since the last snapshot.
    #[must_use]
    pub fn grown_bytes(&self) -> u64 {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).position.grown_bytes
    }

    fn lock_writing(&self) -> MutexGuard<'_, bool> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self) {
        let (image, applied) = {
            let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
            (shared.state.image().clone(), shared.position.applied)
        };
        self.image.send_if_modified(|current| {
            let changed = !Arc::ptr_eq(current, &image);
            *current = image;
            changed
        });
        self.applied.send_replace(applied);
    }

    /// A snapshot of the present state. Nothing is applied while it is copied, but while it is
    /// encoded.
    fn snapshot_now(&self) -> Snapshot {
        let (state, position) = {
            let _writing = self.lock_writing();
            let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
            (shared.state.clone(), shared.position.clone())
        };
        let id = position.applied.map_or_else(|| "empty".to_owned(), |applied| applied.to_string());
        let bytes = encode_state(&state);
        Snapshot { last: position.applied, membership: position.membership, id, bytes }
    }
}

/// Applies one entry; an entry that cannot be read ends the group rather than being skipped.
fn apply_entry(shared: &mut Shared, entry: Entry) -> io::Result<Reply> {
    let Entry { log_id, payload } = entry;
    let reply = match payload {
        Payload::Blank => Reply::None,
        Payload::Membership(membership) => {
            shared.position.membership = StoredMembership { log_id: Some(log_id), membership };
            Reply::None
        }
        Payload::Data(data) => {
            let envelope = Envelope::from_bytes(&data.bytes).map_err(|error| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("metadata entry {log_id}: {error}"),
                )
            })?;
            shared.position.grown_bytes += data.bytes.len() as u64;
            let reply: CommandReply = shared.state.apply_once(log_id.term, envelope);
            Reply::Bytes(reply.to_bytes())
        }
    };
    shared.position.applied = Some(log_id);
    Ok(reply)
}

impl StateMachine for MetadataMachine {
    fn applied(&self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        Ok((shared.position.applied, shared.position.membership.clone()))
    }

    fn apply(&self, entries: Vec<Entry>) -> io::Result<Vec<Reply>> {
        let writing = self.lock_writing();
        let (replies, changes) = {
            let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
            let replies: io::Result<Vec<_>> =
                entries.into_iter().map(|entry| apply_entry(&mut shared, entry)).collect();
            let mut changes = shared.state.take_changes();
            changes.push(shared.position.change());
            (replies?, changes)
        };
        self.store.write(changes)?;
        self.publish();
        drop(writing);
        Ok(replies)
    }

    fn build_snapshot(&self) -> io::Result<Snapshot> {
        let grown_bytes = self.grown_bytes();
        let snapshot = self.snapshot_now();
        {
            let mut has_snapshot = self.lock_writing();
            let change = {
                let mut shared = self.shared.write().unwrap_or_else(PoisonError::into_inner);
                // What was applied meanwhile is growth since this snapshot.
                shared.position.grown_bytes -= grown_bytes;
                shared.position.change()
            };
            self.store.write(vec![change, store::snapshot_mark()])?;
            *has_snapshot = true;
        }
        // The log is purged up to the snapshot next: what it held must be on disk here first.
        self.store.flush()?;
        Ok(snapshot)
    }

    fn install_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        let (state, mut pairs) = decode_state(&snapshot.bytes)?;
        let position =
            Position { applied: snapshot.last, membership: snapshot.membership, grown_bytes: 0 };
        let mut has_snapshot = self.lock_writing();
        let extra = [position.change(), store::snapshot_mark()];
        pairs.extend(extra.into_iter().filter_map(|(key, value)| Some((key, value?))));
        self.store.replace(pairs)?;
        self.store.flush()?;
        *has_snapshot = true;
        *self.shared.write().unwrap_or_else(PoisonError::into_inner) = Shared { state, position };
        self.publish();
        Ok(())
    }

    /// Built afresh rather than kept in memory: the state is the snapshot, at a later position.
    fn current_snapshot(&self) -> io::Result<Option<Snapshot>> {
        let has_snapshot = *self.lock_writing();
        Ok(has_snapshot.then(|| self.snapshot_now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::command::{Command, RequestId};
    use crate::metadata::record::NewTopic;
    use crate::metadata::store::MemPairs;
    use crate::model::{BrokerId, TopicId};
    use jackdaw_raft::Data;

    fn create(index: u64, name: &str) -> Entry {
        let command = Command::CreateTopic(NewTopic {
            name: name.into(),
            id: TopicId(u128::from(index) + 1),
            partitions: vec![vec![BrokerId(1)]],
            configs: Default::default(),
        });
        let request = Some(RequestId(u128::from(index)));
        let bytes = Envelope { request, fence: None, command }.to_bytes();
        Entry { log_id: LogId { term: 1, index }, payload: Payload::Data(Data::new(bytes)) }
    }

    fn names(machine: &MetadataMachine) -> Vec<String> {
        let image = machine.images().borrow().clone();
        image.topics_by_name.keys().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_restart_loads_state_and_position() {
        let store = Arc::new(MemPairs::default());
        let machine = MetadataMachine::open(store.clone()).unwrap();
        machine.apply(vec![create(0, "a"), create(1, "b")]).unwrap();
        let again = MetadataMachine::open(store).unwrap();
        assert_eq!(names(&again), ["a", "b"]);
        assert_eq!(again.applied().unwrap().0, Some(LogId { term: 1, index: 1 }));
        assert_eq!(again.grown_bytes(), machine.grown_bytes());
        assert_eq!(again.current_snapshot().unwrap(), None);
    }

    #[test]
    fn a_snapshot_replaces_the_state_of_another_node() {
        let machine = MetadataMachine::open(Arc::new(MemPairs::default())).unwrap();
        machine.apply(vec![create(0, "a")]).unwrap();
        let snapshot = machine.build_snapshot().unwrap();
        assert_eq!(machine.grown_bytes(), 0);

        let store = Arc::new(MemPairs::default());
        let other = MetadataMachine::open(store.clone()).unwrap();
        other.apply(vec![create(0, "x"), create(1, "y")]).unwrap();
        let damaged = Snapshot { bytes: snapshot.bytes.slice(1..), ..snapshot.clone() };
        assert!(other.install_snapshot(damaged).is_err());
        assert_eq!(names(&other), ["x", "y"]);

        other.install_snapshot(snapshot.clone()).unwrap();
        assert_eq!(names(&other), ["a"]);
        assert_eq!(other.current_snapshot().unwrap(), Some(snapshot.clone()));
        let again = MetadataMachine::open(store).unwrap();
        assert_eq!(names(&again), ["a"]);
        assert_eq!(again.current_snapshot().unwrap(), Some(snapshot));
    }

    #[test]
    fn an_image_is_cloned_once_per_batch_and_published_before_the_position() {
        let machine = MetadataMachine::open(Arc::new(MemPairs::default())).unwrap();
        let before = machine.images().borrow().clone();
        machine.apply(vec![create(0, "a"), create(1, "b")]).unwrap();
        assert!(before.topics_by_name.is_empty());
        assert_eq!(*machine.positions().borrow(), Some(LogId { term: 1, index: 1 }));
        assert_eq!(names(&machine).len(), 2);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_an_error() {
        let machine = MetadataMachine::open(Arc::new(MemPairs::default())).unwrap();
        let payload = Payload::Data(Data::new(&b"\xffjunk"[..]));
        let entry = Entry { log_id: LogId { term: 1, index: 0 }, payload };
        assert!(machine.apply(vec![entry]).is_err());
    }
}
