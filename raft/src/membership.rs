//! Who belongs to a group: voters (two sets while a change is under way) and learners.
//!
//! ```text
//! u8 version=1 | u16 configs | per config: u16 voters, u64 × voters | u16 nodes | u64 × nodes
//! ```
//!
//! **Invariant:** every voter is also listed among the nodes; the encoding is canonical (ascending
//! ids), so equal memberships have equal bytes.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{DecodeError, Decoder};
use crate::id::{LogId, NodeId};

const VERSION: u8 = 1;

/// The members of a group. Two configurations mean that a majority of each must agree (joint
/// consensus; Raft dissertation, section 4.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// Sets of voters: one, or two during a change. None before a group is initialized.
    pub configs: Vec<BTreeSet<NodeId>>,
    /// Voters and learners.
    pub nodes: BTreeSet<NodeId>,
}

/// A membership and the log position that made it effective.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredMembership {
    /// Where the membership stands in the log; `None` before a group is initialized.
    pub log_id: Option<LogId>,
    /// The members.
    pub membership: Membership,
}

impl Membership {
    /// One configuration of `voters`, without learners.
    pub fn of_voters(voters: BTreeSet<NodeId>) -> Self {
        Self { nodes: voters.clone(), configs: vec![voters] }
    }

    /// Every voter of every configuration.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.configs.iter().flatten().copied().collect()
    }

    /// Nodes that receive the log without a vote.
    pub fn learners(&self) -> BTreeSet<NodeId> {
        self.nodes.difference(&self.voters()).copied().collect()
    }

    /// The encoding described in this file's head. Panics above 65,535 members or configurations,
    /// which no group of ours has.
    pub fn to_bytes(&self) -> Bytes {
        let ids = self.configs.iter().map(BTreeSet::len).sum::<usize>() + self.nodes.len();
        let mut out = BytesMut::with_capacity(5 + 2 * self.configs.len() + 8 * ids);
        out.put_u8(VERSION);
        put_count(&mut out, self.configs.len());
        for config in &self.configs {
            put_set(&mut out, config);
        }
        put_set(&mut out, &self.nodes);
        out.freeze()
    }

    /// The reverse of [`Membership::to_bytes`].
    pub fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(bytes);
        if input.u8("membership version")? != VERSION {
            return Err(DecodeError("membership version"));
        }
        let count = input.u16("membership configurations")?;
        let mut configs = Vec::new();
        for _ in 0..count {
            configs.push(get_set(&mut input, "membership voters")?);
        }
        let nodes = get_set(&mut input, "membership nodes")?;
        input.end("membership end")?;
        if !configs.iter().flatten().all(|voter| nodes.contains(voter)) {
            return Err(DecodeError("membership voter that is no node"));
        }
        Ok(Self { configs, nodes })
    }
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u16(u16::try_from(count).expect("a group has fewer than 65,536 members"));
}

fn put_set(out: &mut BytesMut, set: &BTreeSet<NodeId>) {
    put_count(out, set.len());
    for node in set {
        out.put_u64(node.0);
    }
}

fn get_set(input: &mut Decoder, field: &'static str) -> Result<BTreeSet<NodeId>, DecodeError> {
    let count = input.u16(field)?;
    let mut set = BTreeSet::new();
    for _ in 0..count {
        let node = input.node(field)?;
        if set.last().is_some_and(|last| *last >= node) {
            return Err(DecodeError(field));
        }
        set.insert(node);
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn golden() {
        let membership =
            Membership { configs: vec![set(&[1, 2]), set(&[2])], nodes: set(&[1, 2, 9]) };
        #[rustfmt::skip]
        let golden: &[u8] = &[
            1, 0, 2,
            0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2,
            0, 1, 0, 0, 0, 0, 0, 0, 0, 2,
            0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9,
        ];
        assert_eq!(&membership.to_bytes()[..], golden);
        assert_eq!(Membership::from_bytes(Bytes::from_static(golden)), Ok(membership.clone()));
        assert_eq!(membership.learners(), set(&[9]));
        assert_eq!(Membership::default().to_bytes()[..], [1, 0, 0, 0, 0]);
    }

    #[test]
    fn every_cut_and_disorder_is_refused() {
        let bytes = Membership::of_voters(set(&[1, 2, 3])).to_bytes();
        for len in 0..bytes.len() {
            assert!(Membership::from_bytes(bytes.slice(..len)).is_err(), "cut at {len}");
        }
        let mut long = BytesMut::from(&bytes[..]);
        long.put_u8(0);
        assert!(Membership::from_bytes(long.freeze()).is_err());
        let no_node: &[u8] = &[1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        assert!(Membership::from_bytes(Bytes::from_static(no_node)).is_err());
        let huge: &[u8] = &[1, 255, 255, 255, 255];
        assert!(Membership::from_bytes(Bytes::from_static(huge)).is_err());
    }
}
