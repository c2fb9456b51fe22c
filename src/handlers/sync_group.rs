//! SyncGroup: members fetch their shares, the leader brings them. Versions 0–5.
//!
//! Answers when the assignments are stored.

use kafka_wire::{SyncGroupRequest, SyncGroupResponse};

use super::GroupCaller;
use super::group_caller::{owned, owned_bytes, owned_option, wire_option};
use crate::group::{Coordinator, GroupError, MemberClaim, SyncAnswer, SyncRequest};

/// Answers a SyncGroup.
pub async fn handle(
    groups: &Coordinator,
    caller: &GroupCaller,
    body: SyncGroupRequest,
) -> SyncGroupResponse {
    let named = body.protocol_type.is_some() && body.protocol_name.is_some();
    let outcome = if caller.version >= 5 && !named {
        Err(GroupError::InconsistentGroupProtocol)
    } else {
        let request = sync_request(&body);
        let group = body.group_id.clone();
        // The frame is not needed while the member waits.
        drop(body);
        groups.sync(&group, request).await
    };
    let mut response = SyncGroupResponse::default();
    match outcome {
        Ok(SyncAnswer { protocol_type, protocol, assignment }) => {
            response.protocol_type = wire_option(protocol_type.as_ref());
            response.protocol_name = wire_option(protocol.as_ref());
            response.assignment = assignment;
        }
        Err(error) => response.error_code = error.code(),
    }
    response
}

fn sync_request(body: &SyncGroupRequest) -> SyncRequest {
    let assignments = body.assignments.iter();
    SyncRequest {
        claim: MemberClaim {
            member_id: owned(&body.member_id),
            instance_id: owned_option(body.group_instance_id.as_ref()),
            generation: body.generation_id,
        },
        protocol_type: owned_option(body.protocol_type.as_ref()),
        protocol: owned_option(body.protocol_name.as_ref()),
        assignments: assignments
            .map(|share| (owned(&share.member_id), owned_bytes(&share.assignment)))
            .collect(),
    }
}
