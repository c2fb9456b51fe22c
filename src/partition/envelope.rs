//! What a partition's small files have around their contents: what they are, whose they are, and that
//! they are whole.
//!
//! ```text
//!  0  magic              4 bytes
//!  4  version            u32
//!  8  crc                u32   CRC-32C of everything behind it
//! 12  topic id           16 bytes
//! 28  partition          i32
//! 32  cluster id         u8 length, then its bytes
//!  …  contents
//! ```

use bytes::{BufMut, Bytes};

use super::producer_codec::Input;
use crate::model::{PartitionIndex, TopicId};
use crate::storage::LogIdentity;

/// Where the bytes begin that the CRC covers.
const CRC_FROM: usize = 12;

/// A kind of file, in one version of it.
pub(super) struct Envelope {
    pub(super) magic: &'static [u8; 4],
    pub(super) version: u32,
    /// What to call it in an error.
    pub(super) name: &'static str,
}

impl Envelope {
    /// What `write` writes, enclosed, for the partition `identity`.
    pub(super) fn enclose(
        &self,
        identity: &LogIdentity,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Bytes {
        let mut out = Vec::new();
        out.put_slice(self.magic);
        out.put_u32(self.version);
        out.put_u32(0);
        out.put_slice(&identity.topic_id.to_bytes());
        out.put_i32(identity.partition.0);
        let cluster = identity.cluster_id.as_bytes();
        out.put_u8(u8::try_from(cluster.len()).expect("a cluster id of at most 255 bytes"));
        out.put_slice(cluster);
        write(&mut out);
        let crc = crc32c::crc32c(&out[CRC_FROM..]);
        out[CRC_FROM - 4..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        out.into()
    }

    /// What `read` makes of all the contents of `bytes`; `Err` says what is wrong.
    pub(super) fn open<T>(
        &self,
        bytes: &[u8],
        identity: &LogIdentity,
        read: impl FnOnce(&mut Input<'_>) -> Option<T>,
    ) -> Result<T, String> {
        let name = self.name;
        let mut input = Input(bytes);
        if input.take() != Some(*self.magic) || input.u32() != Some(self.version) {
            return Err(format!("no {name} of a version that is known here"));
        }
        if input.u32() != Some(crc32c::crc32c(input.0)) {
            return Err(format!("the {name}'s CRC is wrong"));
        }
        let found = decode_identity(&mut input).ok_or(format!("the {name} names no partition"))?;
        if found != *identity {
            return Err(format!("the {name} is of {found}"));
        }
        read(&mut input)
            .filter(|_| input.0.is_empty())
            .ok_or_else(|| format!("the {name}'s contents cannot be read"))
    }
}

fn decode_identity(input: &mut Input<'_>) -> Option<LogIdentity> {
    let topic_id = TopicId::from_bytes(input.take()?);
    let partition = PartitionIndex(input.i32()?);
    let [length] = input.take()?;
    let cluster_id = String::from_utf8(input.slice(length.into())?.to_vec()).ok()?;
    Some(LogIdentity { cluster_id, topic_id, partition })
}
