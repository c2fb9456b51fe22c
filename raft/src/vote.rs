//! A node's vote, and what else it must remember across a restart.
//!
//! ```text
//! u64 term | u64 node | u8 committed
//! ```

use crate::codec::DecodeError;
use crate::id::{LogId, NodeId};

/// For whom a node voted in a term. Committed once a majority granted it: the node leads the term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The term voted in.
    pub term: u64,
    /// The candidate, or the leader once committed.
    pub node: NodeId,
    /// Whether a majority is known to have granted the vote.
    pub committed: bool,
}

impl Vote {
    /// Bytes of an encoded vote.
    pub const LEN: usize = 17;

    /// The encoding described in this file's head.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.term.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.node.0.to_be_bytes());
        bytes[16] = u8::from(self.committed);
        bytes
    }

    /// The reverse of [`Vote::to_bytes`]; an error where the last byte is neither 0 nor 1.
    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Result<Self, DecodeError> {
        let (mut term, mut node) = ([0; 8], [0; 8]);
        term.copy_from_slice(&bytes[..8]);
        node.copy_from_slice(&bytes[8..16]);
        let committed = match bytes[16] {
            0 => false,
            1 => true,
            _ => return Err(DecodeError("vote committed")),
        };
        Ok(Self {
            term: u64::from_be_bytes(term),
            node: NodeId(u64::from_be_bytes(node)),
            committed,
        })
    }
}

/// What a group remembers outside its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The last saved vote. Losing it may elect two leaders in one term.
    pub vote: Option<Vote>,
    /// A checkpoint of the committed position, which may be old: it only saves waiting for the
    /// leader after a restart.
    pub committed: Option<LogId>,
    /// The log was lost, and is not complete again: the replica does not vote.
    pub refilling: bool,
    /// A newer vote than this one may have been given and forgotten: the replica takes no part before it
    /// has heard from all others where they stand.
    pub unproven: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let vote = Vote { term: 0x0102, node: NodeId(7), committed: true };
        let golden = [0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 7, 1];
        assert_eq!(vote.to_bytes(), golden);
        assert_eq!(Vote::from_bytes(golden), Ok(vote));
        let mut bad = golden;
        bad[16] = 2;
        assert!(Vote::from_bytes(bad).is_err());
    }
}
