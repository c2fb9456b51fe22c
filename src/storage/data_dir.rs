//! The node's data folder.
//!
//! ```text
//! node.json                        whose folder it is
//! ballast                          space to free space with (see `ballast`)
//! lock                             held (flock) while a process uses it
//! votes/                           votes and commit positions of all groups
//! kv/                              copy of the metadata
//! metadata/                        the metadata group's log
//! partitions/<topic>-<partition>/  a partition's log
//! set-aside/<topic>-<partition>…/  folders that are damaged or unknown to the metadata, for people
//! deleted/<topic id>-<partition>/  on their way out
//! ```
//! **Invariant:** data that nobody asked to delete is set aside, never deleted: missing metadata is no
//! order.
//! **Invariant:** a folder is used by one process, of the cluster and node that made it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::disk::{Disk, SystemDisk};
use super::durable_file::replace_file;
use super::{DataDirError, LogError, LogIdentity, read_identity};
use crate::model::{BrokerId, PartitionIndex, TopicPartition};

const IDENTITY: &str = "node.json";
const VERSION: u32 = 1;

/// Whose folder it is, and by which version of the layout: the contents of `node.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node_id: BrokerId,
    /// Version of the folder's layout, 1.
    pub version: u32,
}

/// An open data folder; locked until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: NodeIdentity,
    _lock: File,
}

/// What lies where the partitions' folders are.
#[derive(Debug, Default)]
pub struct FoundPartitions {
    /// Every folder, in order of their names.
    pub folders: Vec<PartitionFolder>,
    /// What is no folder.
    pub loose: Vec<PathBuf>,
}

/// A partition's folder as found.
#[derive(Debug)]
pub struct PartitionFolder {
    /// Where it is.
    pub path: PathBuf,
    /// What its name says; `None` if the name is not of the form `<topic>-<partition>`.
    pub partition: Option<TopicPartition>,
    /// What its log says: the topic's id decides, names are used again. `None` if it has no log; an error
    /// where none of its segments can say so.
    pub identity: Result<Option<LogIdentity>, LogError>,
}

impl DataDir {
    /// Opens or makes the folder for `node_id` of `cluster_id`, locks it, and finishes deletions.
    ///
    /// # Errors
    /// Any [`DataDirError`].
    pub fn open(path: &Path, cluster_id: &str, node_id: BrokerId) -> Result<Self, DataDirError> {
        for dir in ["partitions", "set-aside", "deleted"].map(|name| path.join(name)) {
            SystemDisk.create_dir(&dir).map_err(fail("make", &dir))?;
        }
        let lock = lock(path)?;
        let wanted = NodeIdentity { cluster_id: cluster_id.to_owned(), node_id, version: VERSION };
        let identity = match Self::identity_of(path)? {
            Some(found) => check(path, found, &wanted)?,
            None => Self::mark(path, wanted)?,
        };
        let dir = Self { path: path.to_owned(), identity, _lock: lock };
        dir.finish_deletions()?;
        Ok(dir)
    }

    /// What was on its way out goes. What does not go, or was never ours, is in nobody's way.
    fn finish_deletions(&self) -> Result<(), DataDirError> {
        for entry in list(&self.path.join("deleted"))? {
            if let Err(error) = fs::remove_dir_all(&entry) {
                tracing::warn!(%error, path = %entry.display(), "cannot be deleted: remove it by hand");
            }
        }
        Ok(())
    }

    /// Whose folder `path` is; `None` if it is nobody's yet. Takes no lock.
    ///
    /// # Errors
    /// [`DataDirError::Io`]; [`DataDirError::Identity`].
    pub fn identity_of(path: &Path) -> Result<Option<NodeIdentity>, DataDirError> {
        let path = path.join(IDENTITY);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(fail("read", &path)(e)),
        };
        match serde_json::from_slice(&bytes) {
            Ok(identity) => Ok(Some(identity)),
            Err(e) => Err(DataDirError::Identity { path, what: e.to_string() }),
        }
    }

    /// Makes an empty folder this node's.
    fn mark(path: &Path, identity: NodeIdentity) -> Result<NodeIdentity, DataDirError> {
        let has_data = ["votes", "kv", "metadata"].iter().any(|name| path.join(name).exists())
            || !list(&path.join("partitions"))?.is_empty();
        let file = path.join(IDENTITY);
        if has_data {
            let what = "it is missing although there is data beside it".to_owned();
            return Err(DataDirError::Identity { path: file, what });
        }
        let json = serde_json::to_vec_pretty(&identity).expect("plain data");
        replace_file(&file, &json, &SystemDisk).map_err(fail("write", &file))?;
        Ok(identity)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose folder it is.
    #[must_use]
    pub fn identity(&self) -> &NodeIdentity {
        &self.identity
    }

    /// Where the votes and commit positions of all groups go.
    #[must_use]
    pub fn votes_dir(&self) -> PathBuf {
        self.path.join("votes")
    }

    /// Where the key-value store goes.
    #[must_use]
    pub fn kv_dir(&self) -> PathBuf {
        self.path.join("kv")
    }

    /// Where the metadata group's log goes.
    #[must_use]
    pub fn metadata_dir(&self) -> PathBuf {
        self.path.join("metadata")
    }

    /// Where a partition's log goes.
    #[must_use]
    pub fn partition_dir(&self, partition: &TopicPartition) -> PathBuf {
        self.path.join("partitions").join(partition.to_string())
    }

    /// Every partition's folder, and what else lies there.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn partitions(&self) -> Result<FoundPartitions, DataDirError> {
        partitions_of(&self.path)
    }

    /// Moves a folder out of the way, because the metadata does not know it or it is damaged; returns
    /// where it is now.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn set_aside(&self, folder: &Path, why: &str) -> Result<PathBuf, DataDirError> {
        let name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy();
        let parent = self.path.join("set-aside");
        let free = |path: &PathBuf| !path.exists();
        let numbered = (1_u32..).map(|n| parent.join(format!("{n}~{name}")));
        let target = std::iter::once(parent.join(&*name)).chain(numbered).find(free);
        let target = target.unwrap_or(parent);
        self.rename(folder, &target)?;
        tracing::warn!(from = %folder.display(), to = %target.display(), why, "set aside");
        Ok(target)
    }

    /// Deletes a partition whose log was closed: it is out of the way at once, for good after a crash
    /// too, and then removed.
    ///
    /// # Errors
    /// [`DataDirError::Io`].
    pub fn delete_partition(
        &self,
        partition: &TopicPartition,
        identity: &LogIdentity,
    ) -> Result<(), DataDirError> {
        let folder = self.partition_dir(partition);
        // Not the topic's name: with a suffix, 249 characters would not fit a file name.
        let name = format!("{}-{}", identity.topic_id, identity.partition);
        let target = self.path.join("deleted").join(name);
        match fs::remove_dir_all(&target) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(fail("delete", &target)(e));
            }
            _ => {}
        }
        self.rename(&folder, &target)?;
        fs::remove_dir_all(&target).map_err(fail("delete", &target))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), DataDirError> {
        SystemDisk.rename(from, to).map_err(fail("move", from))?;
        for dir in [from.parent(), to.parent()].into_iter().flatten() {
            SystemDisk.sync_dir(dir).map_err(fail("sync", dir))?;
        }
        Ok(())
    }
}

/// The partitions' folders in the data folder `path`, which need not be locked.
///
/// # Errors
/// As [`DataDir::partitions`].
pub fn partitions_of(path: &Path) -> Result<FoundPartitions, DataDirError> {
    let mut found = FoundPartitions::default();
    for path in list(&path.join("partitions"))? {
        if !path.is_dir() {
            found.loose.push(path);
            continue;
        }
        let partition = path.file_name().and_then(|n| n.to_str()).and_then(parse_name);
        let identity = read_identity(&path);
        found.folders.push(PartitionFolder { path, partition, identity });
    }
    Ok(found)
}

fn parse_name(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let index: i32 = partition.parse().ok().filter(|index| *index >= 0)?;
    let sound = !topic.is_empty() && index.to_string() == partition;
    sound.then(|| TopicPartition::new(topic, PartitionIndex(index)))
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let file_path = path.join("lock");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&file_path)
        .map_err(fail("open", &file_path))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => Err(DataDirError::Locked { path: path.to_owned() }),
        Err(e) => Err(fail("lock", &file_path)(e.into())),
    }
}

fn check(
    path: &Path,
    found: NodeIdentity,
    wanted: &NodeIdentity,
) -> Result<NodeIdentity, DataDirError> {
    if (&found.cluster_id, found.node_id) != (&wanted.cluster_id, wanted.node_id) {
        return Err(DataDirError::OtherNode {
            path: path.to_owned(),
            found_cluster: found.cluster_id,
            found_node: found.node_id,
            wanted_cluster: wanted.cluster_id.clone(),
            wanted_node: wanted.node_id,
        });
    }
    if found.version != wanted.version {
        let what = format!("layout version {} is not {VERSION}", found.version);
        return Err(DataDirError::Identity { path: path.join(IDENTITY), what });
    }
    Ok(found)
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, DataDirError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail("list", dir))? {
        paths.push(entry.map_err(fail("list", dir))?.path());
    }
    paths.sort();
    Ok(paths)
}

fn fail(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { doing, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopicId;
    use crate::storage::{Log, LogOptions, Storage};

    const NODE: BrokerId = BrokerId(1);

    #[test]
    fn is_opened_again_by_its_node_only_and_once() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("data");
        let dir = DataDir::open(&path, "c1", NODE).unwrap();
        assert!(matches!(DataDir::open(&path, "c1", NODE), Err(DataDirError::Locked { .. })));
        drop(dir);
        drop(DataDir::open(&path, "c1", NODE).unwrap());
        for (cluster, node) in [("c2", NODE), ("c1", BrokerId(2))] {
            let error = DataDir::open(&path, cluster, node).unwrap_err();
            assert!(matches!(error, DataDirError::OtherNode { .. }));
            assert!(error.to_string().contains("correct the configuration"), "{error}");
        }
        fs::create_dir(path.join("kv")).unwrap();
        fs::remove_file(path.join(IDENTITY)).unwrap();
        assert!(matches!(DataDir::open(&path, "c1", NODE), Err(DataDirError::Identity { .. })));
    }

    #[test]
    fn a_path_that_cannot_be_a_folder_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        fs::write(&path, b"").unwrap();
        let error = DataDir::open(&path, "c1", NODE).unwrap_err();
        assert!(error.to_string().contains("check the data folder's owner"), "{error}");
    }

    #[test]
    fn partitions_are_listed_set_aside_and_deleted() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::open(root.path(), "c1", NODE).unwrap();
        let partition = TopicPartition::new("orders-eu.v-1", PartitionIndex(12));
        let identity = LogIdentity {
            cluster_id: "c1".to_owned(),
            topic_id: TopicId(7),
            partition: PartitionIndex(12),
        };
        let make = || {
            let folder = dir.partition_dir(&partition);
            let storage = Storage::default();
            Log::open(&folder, &identity, LogOptions::default(), &storage, None).unwrap();
            folder
        };
        let folder = make();
        let loose = root.path().join("partitions").join("loose");
        fs::write(&loose, b"x").unwrap();
        let found = dir.partitions().unwrap();
        assert_eq!(found.folders[0].partition, Some(partition.clone()));
        assert_eq!(found.folders[0].identity.as_ref().unwrap(), &Some(identity.clone()));
        assert_eq!(found.loose, [loose]);
        let first = dir.set_aside(&folder, "a test").unwrap();
        make();
        let second = dir.set_aside(&folder, "a test").unwrap();
        assert!(first != second && first.exists() && second.exists());
        make();
        dir.delete_partition(&partition, &identity).unwrap();
        assert!(dir.partitions().unwrap().folders.is_empty());
        assert!(list(&root.path().join("deleted")).unwrap().is_empty());
    }

    #[test]
    fn deletions_are_finished_by_the_next_start_which_nothing_loose_prevents() {
        let root = tempfile::tempdir().unwrap();
        drop(DataDir::open(root.path(), "c1", NODE).unwrap());
        let deleted = root.path().join("deleted");
        fs::create_dir(deleted.join("half")).unwrap();
        fs::write(deleted.join("half").join("a.log"), b"x").unwrap();
        fs::write(deleted.join("loose"), b"x").unwrap();
        DataDir::open(root.path(), "c1", NODE).unwrap();
        assert_eq!(list(&deleted).unwrap(), [deleted.join("loose")]);
    }

    #[test]
    fn names_are_taken_apart_only_as_they_are_made() {
        let some = |t: &str, p| Some(TopicPartition::new(t, PartitionIndex(p)));
        assert_eq!(parse_name("a-b-3"), some("a-b", 3));
        assert_eq!(parse_name("a-0"), some("a", 0));
        for name in ["a", "-1", "a-01", "a-", "a-+1", "a--1x"] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }
}
