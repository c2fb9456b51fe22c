//! Heartbeat: a member lives, and learns of rebalances. Versions 0–4.

use kafka_wire::{HeartbeatRequest, HeartbeatResponse};

use super::group_caller::{owned, owned_option};
use crate::group::{Coordinator, GroupError, MemberClaim};

/// Answers a Heartbeat.
pub async fn handle(groups: &Coordinator, body: HeartbeatRequest) -> HeartbeatResponse {
    let claim = MemberClaim {
        member_id: owned(&body.member_id),
        instance_id: owned_option(body.group_instance_id.as_ref()),
        generation: body.generation_id,
    };
    let mut response = HeartbeatResponse::default();
    response.error_code = GroupError::code_of(&groups.heartbeat(&body.group_id, &claim));
    response
}
