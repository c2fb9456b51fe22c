//! LeaveGroup: members go, or are removed by an administrator. Versions 0–5; from 3 on, many
//! members, each by its member id or its instance id.

use kafka_wire::leave_group_response::MemberResponse;
use kafka_wire::{LeaveGroupRequest, LeaveGroupResponse};
use kafka_wire_core::StrBytes;

use super::GroupCaller;
use super::group_caller::{owned, owned_option};
use crate::group::{Coordinator, GroupError, LeaveMember};

/// Answers a LeaveGroup.
pub async fn handle(
    groups: &Coordinator,
    caller: &GroupCaller,
    body: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let names: Vec<(StrBytes, Option<StrBytes>)> = if caller.version >= 3 {
        body.members
            .into_iter()
            .map(|member| (member.member_id, member.group_instance_id))
            .collect()
    } else {
        vec![(body.member_id, None)]
    };
    let members: Vec<LeaveMember> = names
        .iter()
        .map(|(member_id, instance_id)| LeaveMember {
            member_id: owned(member_id),
            instance_id: owned_option(instance_id.as_ref()),
        })
        .collect();
    let mut response = LeaveGroupResponse::default();
    match groups.leave(&body.group_id, &members) {
        Err(error) => response.error_code = error.code(),
        Ok(outcomes) if caller.version >= 3 => {
            let outcomes = names.into_iter().zip(outcomes);
            response.members = outcomes.map(|(name, outcome)| member(name, &outcome)).collect();
        }
        // The one member's error is the response's.
        Ok(outcomes) => {
            response.error_code = outcomes.first().map_or(0, GroupError::code_of);
        }
    }
    response
}

fn member(
    (member_id, instance_id): (StrBytes, Option<StrBytes>),
    outcome: &Result<(), GroupError>,
) -> MemberResponse {
    let mut member = MemberResponse::default();
    member.member_id = member_id;
    member.group_instance_id = instance_id;
    member.error_code = GroupError::code_of(outcome);
    member
}
