//! The state as key-value pairs: one encoding for the store (sled) and for snapshots.
//!
//! ```text
//! key                                                   value (version byte, postcard)
//! b  id i32                                             BrokerRegistration
//! c                                                     configs of all brokers
//! d  id i32                                             configs of a broker
//! g  group                                              StoredGroup
//! o  len u16, group, len u16, topic, partition i32      CommittedOffset
//! p                                                     next producer id
//! r  sequence u64                                       request id, reply
//! t  topic id, 16 bytes                                 NewTopic
//! ```
//!
//! **Invariant:** integers in keys are big-endian; [`State::pairs`] of equal states are equal,
//! byte for byte, and [`State::from_pairs`] gives the state back.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::State;
use crate::metadata::command::{CodecError, CommandReply, RequestId, decode, encode};
use crate::metadata::image::TopicImage;
use crate::metadata::record::{
    BrokerRegistration, CommittedOffset, NewTopic, OffsetKey, StoredGroup,
};
use crate::model::{BrokerId, PartitionIndex, TopicId};

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// A key and its new value; `None`: the pair is gone.
pub type PairChange = (Vec<u8>, Option<Vec<u8>>);

/// Why pairs are not a state.
#[derive(Debug, thiserror::Error)]
pub enum PairsError {
    /// No entity has such a key.
    #[error("an unknown key in the metadata state: {0:02x?}")]
    Key(Vec<u8>),
    /// The value cannot be read.
    #[error("a bad value under the key {key:02x?} of the metadata state: {source}")]
    Value {
        /// Under which key.
        key: Vec<u8>,
        /// What is wrong.
        source: CodecError,
    },
}

/// Names one entity of the state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Broker(BrokerId),
    ClusterConfigs,
    BrokerConfigs(BrokerId),
    Group(String),
    Offset(String, OffsetKey),
    ProducerIds,
    Request(u64),
    Topic(TopicId),
}

fn put_text(key: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).expect("names come from Kafka strings, at most 32767");
    key.extend(length.to_be_bytes());
    key.extend(text.as_bytes());
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    let length = usize::from(u16::from_be_bytes(take(bytes)?));
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(head.to_vec()).ok()
}

impl Key {
    fn to_bytes(&self) -> Vec<u8> {
        let mut key = Vec::new();
        match self {
            Self::Broker(id) => {
                key.push(b'b');
                key.extend(id.0.to_be_bytes());
            }
            Self::ClusterConfigs => key.push(b'c'),
            Self::BrokerConfigs(id) => {
                key.push(b'd');
                key.extend(id.0.to_be_bytes());
            }
            Self::Group(group) => {
                key.push(b'g');
                key.extend(group.as_bytes());
            }
            Self::Offset(group, of) => {
                key.push(b'o');
                put_text(&mut key, group);
                put_text(&mut key, &of.topic);
                key.extend(of.partition.0.to_be_bytes());
            }
            Self::ProducerIds => key.push(b'p'),
            Self::Request(sequence) => {
                key.push(b'r');
                key.extend(sequence.to_be_bytes());
            }
            Self::Topic(id) => {
                key.push(b't');
                key.extend(id.to_bytes());
            }
        }
        key
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, mut rest) = bytes.split_first()?;
        let key = match kind {
            b'b' => Self::Broker(BrokerId(i32::from_be_bytes(take(&mut rest)?))),
            b'c' => Self::ClusterConfigs,
            b'd' => Self::BrokerConfigs(BrokerId(i32::from_be_bytes(take(&mut rest)?))),
            b'g' => Self::Group(String::from_utf8(std::mem::take(&mut rest).to_vec()).ok()?),
            b'o' => {
                let group = take_text(&mut rest)?;
                let topic = take_text(&mut rest)?;
                let partition = PartitionIndex(i32::from_be_bytes(take(&mut rest)?));
                Self::Offset(group, OffsetKey { topic, partition })
            }
            b'p' => Self::ProducerIds,
            b'r' => Self::Request(u64::from_be_bytes(take(&mut rest)?)),
            b't' => Self::Topic(TopicId::from_bytes(take(&mut rest)?)),
            _ => return None,
        };
        rest.is_empty().then_some(key)
    }
}

impl State {
    /// Takes what changed since the last call, in key order.
    #[must_use]
    pub fn take_changes(&mut self) -> Vec<PairChange> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().map(|key| (key.to_bytes(), self.value(&key))).collect()
    }

    /// The whole state, in an order that depends on nothing but the state.
    pub fn pairs(&self) -> impl Iterator<Item = Pair> {
        self.keys().into_iter().map(|key| {
            let value = self.value(&key).expect("a listed entity is there");
            (key.to_bytes(), value)
        })
    }

    /// The state from its pairs, in any order.
    ///
    /// # Errors
    /// [`PairsError`] if a pair is not one that [`Self::pairs`] writes.
    pub fn from_pairs<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, PairsError>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut state = Self::new();
        for (key, value) in pairs {
            let bytes = key.as_ref();
            let key = Key::from_bytes(bytes).ok_or_else(|| PairsError::Key(bytes.to_vec()))?;
            state
                .restore(key, value.as_ref())
                .map_err(|source| PairsError::Value { key: bytes.to_vec(), source })?;
        }
        Ok(state)
    }

    fn keys(&self) -> Vec<Key> {
        let image = &self.image;
        let mut keys: Vec<Key> = image.brokers.keys().copied().map(Key::Broker).collect();
        if !image.cluster_configs.is_empty() {
            keys.push(Key::ClusterConfigs);
        }
        keys.extend(image.broker_configs.keys().copied().map(Key::BrokerConfigs));
        keys.extend(self.groups.keys().cloned().map(Key::Group));
        for (group, offsets) in &self.offsets {
            keys.extend(offsets.keys().map(|key| Key::Offset(group.clone(), key.clone())));
        }
        if self.next_producer_id > 0 {
            keys.push(Key::ProducerIds);
        }
        keys.extend(self.requests.sequences().map(Key::Request));
        keys.extend(image.topics_by_id.keys().copied().map(Key::Topic));
        keys
    }

    fn value(&self, key: &Key) -> Option<Vec<u8>> {
        let image = &self.image;
        match key {
            Key::Broker(id) => image.brokers.get(id).map(encode),
            Key::ClusterConfigs => {
                (!image.cluster_configs.is_empty()).then(|| encode(&image.cluster_configs))
            }
            Key::BrokerConfigs(id) => image.broker_configs.get(id).map(encode),
            Key::Group(group) => self.groups.get(group).map(|stored| encode(&**stored)),
            Key::Offset(group, of) => self.offsets.get(group)?.get(of).map(encode),
            Key::ProducerIds => (self.next_producer_id > 0).then(|| encode(&self.next_producer_id)),
            Key::Request(sequence) => self.requests.get(*sequence).map(encode),
            Key::Topic(id) => image.topics_by_id.get(id).map(|topic| {
                encode(&NewTopic {
                    name: topic.name.to_string(),
                    id: topic.id,
                    partitions: topic.partitions.clone(),
                    configs: topic.configs.clone(),
                })
            }),
        }
    }

    fn restore(&mut self, key: Key, value: &[u8]) -> Result<(), CodecError> {
        match key {
            Key::Broker(id) => {
                let broker: BrokerRegistration = decode(value)?;
                self.image_mut().brokers.insert(id, broker);
            }
            Key::ClusterConfigs => self.image_mut().cluster_configs = decode(value)?,
            Key::BrokerConfigs(id) => {
                let configs: BTreeMap<String, String> = decode(value)?;
                self.image_mut().broker_configs.insert(id, configs);
            }
            Key::Group(group) => {
                let stored: StoredGroup = decode(value)?;
                self.groups.insert(group, Arc::new(stored));
            }
            Key::Offset(group, of) => {
                let committed: CommittedOffset = decode(value)?;
                self.offsets.entry(group).or_default().insert(of, committed);
            }
            Key::ProducerIds => self.next_producer_id = decode(value)?,
            Key::Request(sequence) => {
                let (request, reply): (RequestId, CommandReply) = decode(value)?;
                self.requests.restore(sequence, request, reply);
            }
            Key::Topic(_) => {
                let NewTopic { name, id, partitions, configs } = decode(value)?;
                let name = name.into();
                self.image_mut().put_topic(Arc::new(TopicImage { name, id, partitions, configs }));
            }
        }
        Ok(())
    }
}
