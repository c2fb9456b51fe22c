//! Folders beside those of this node's partitions: what a topic left behind that was deleted while the node
//! was away, copies, anything that a person put there.
//!
//! **Invariant:** they are moved, never deleted; each is judged by itself, whatever is the matter with the
//! others.
//! **Invariant:** a folder that is called after a partition of this cluster stays, unless its log says that
//! it is another one's: what is wrong with it is that replica's matter.

use crate::metadata::MetadataImage;
use crate::storage::{DataDir, PartitionFolder};

/// Moves every folder that no partition of `image` has to where people look for it.
pub(super) fn set_aside_unknown(data_dir: &DataDir, image: &MetadataImage) {
    let found = match data_dir.partitions() {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "unknown folders stay where they are");
            return;
        }
    };
    for path in found.loose {
        tracing::warn!(path = %path.display(), "no folder of a partition: it stays where it is");
    }
    for folder in found.folders {
        let Some(why) = stranger(&folder, image, &data_dir.identity().cluster_id) else { continue };
        if let Err(error) = data_dir.set_aside(&folder.path, &why) {
            let path = folder.path.display();
            tracing::warn!(%error, %path, why, "an unknown folder stays where it is");
        }
    }
}

/// Why no partition has the folder; `None` if one has.
fn stranger(folder: &PartitionFolder, image: &MetadataImage, cluster: &str) -> Option<String> {
    let named = folder.partition.as_ref().and_then(|name| {
        let topic = image.topic(&name.topic)?;
        topic.replicas(name.partition).map(|_| (topic.id, name.partition))
    });
    match (&folder.identity, named) {
        (Ok(Some(log)), Some(named)) => {
            let is_its_own = log.cluster_id == cluster && (log.topic_id, log.partition) == named;
            (!is_its_own).then(|| format!("it holds the log of {log}"))
        }
        (Ok(Some(log)), None) => Some(match image.topic_by_id(log.topic_id) {
            Some(topic) if topic.replicas(log.partition).is_none() => {
                format!("topic {} has no partition {}", topic.name, log.partition)
            }
            Some(topic) => format!("it is not called {}-{}", topic.name, log.partition),
            None => "no topic has it".to_owned(),
        }),
        (_, Some(_)) => None,
        (Ok(None), None) => Some("no partition is called so, and it holds no log".to_owned()),
        (Err(error), None) => Some(format!("no partition is called so, and {error}")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::metadata::TopicImage;
    use crate::model::{BrokerId, PartitionIndex, TopicId};
    use crate::storage::{Log, LogIdentity, LogOptions, Storage};

    const NODE: BrokerId = BrokerId(1);

    /// One topic, `a`, with two partitions.
    fn image() -> MetadataImage {
        let topic = Arc::new(TopicImage {
            name: "a".into(),
            id: TopicId(7),
            partitions: vec![vec![NODE]; 2],
            configs: BTreeMap::new(),
        });
        MetadataImage {
            topics_by_name: [(Arc::clone(&topic.name), Arc::clone(&topic))].into(),
            topics_by_id: [(topic.id, topic)].into(),
            ..MetadataImage::default()
        }
    }

    fn make_log(partitions: &Path, name: &str, topic: u128, partition: i32) {
        let identity = LogIdentity {
            cluster_id: "c".to_owned(),
            topic_id: TopicId(topic),
            partition: PartitionIndex(partition),
        };
        let (dir, storage) = (partitions.join(name), Storage::default());
        Log::open(&dir, &identity, LogOptions::default(), &storage, None).unwrap();
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn each_folder_is_judged_by_itself() {
        let root = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(root.path(), "c", NODE).unwrap();
        let partitions = root.path().join("partitions");
        make_log(&partitions, "a-0", 7, 0);
        // Damaged, and without a log: their replicas' matter.
        let unreadable = "00000000000000000000.log";
        for (name, file) in [("a-1", unreadable), ("broken", unreadable), ("photos", "cat.jpg")] {
            fs::create_dir(partitions.join(name)).unwrap();
            fs::write(partitions.join(name).join(file), b"precious").unwrap();
        }
        fs::write(partitions.join("letter"), b"precious").unwrap();
        // Copies of a live partition, one that the topic does not have, and a topic that is no more.
        make_log(&partitions, "a-0 (copy)", 7, 0);
        make_log(&partitions, "a-5", 7, 5);
        make_log(&partitions, "b-0", 8, 0);
        fs::create_dir(partitions.join("a-7")).unwrap();

        set_aside_unknown(&data_dir, &image());
        assert_eq!(names(&partitions), ["a-0", "a-1", "letter"]);
        let aside = names(&root.path().join("set-aside"));
        assert_eq!(aside, ["a-0 (copy)", "a-5", "a-7", "b-0", "broken", "photos"]);
        assert!(root.path().join("set-aside/photos/cat.jpg").exists());
    }

    #[test]
    fn a_folder_with_another_partitions_log_is_a_stranger() {
        let root = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(root.path(), "c", NODE).unwrap();
        make_log(&root.path().join("partitions"), "a-0", 7, 1);
        set_aside_unknown(&data_dir, &image());
        assert_eq!(names(&root.path().join("set-aside")), ["a-0"]);
    }
}
