//! Our payload as openraft's.

use openraft::entry::RaftPayload;

use super::types::{RaftMembership, from_membership, to_membership};
use crate::entry::{Data, Payload};
use crate::id::NodeId;

impl RaftPayload for Payload {
    type D = Data;
    type NodeId = NodeId;
    type Node = ();

    fn blank() -> Self {
        Self::Blank
    }

    fn with_normal(self, data: Data) -> Self {
        Self::Data(data)
    }

    fn with_membership(self, membership: RaftMembership) -> Self {
        Self::Membership(from_membership(&membership))
    }

    fn get_membership(&self) -> Option<RaftMembership> {
        let Self::Membership(membership) = self else { return None };
        // Every membership in a log came from openraft, or through a decoder that checks it.
        Some(to_membership(membership.clone()).expect("a membership in the log has voters"))
    }
}
