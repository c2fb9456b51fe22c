//! DescribeGroups: state and members of groups. Versions 0–6.
//!
//! **Invariant:** an unknown group is `Dead` without an error below version 6, and
//! GROUP_ID_NOT_FOUND from 6 on (KIP-1043).

use kafka_wire::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_wire::{DescribeGroupsRequest, DescribeGroupsResponse};
use kafka_wire_core::StrBytes;

use super::GroupCaller;
use super::group_caller::{wire, wire_option};
use crate::group::{Coordinator, GroupError, GroupState, GroupSummary, MemberSummary};

/// What may be done to a group where nothing is forbidden: READ, DELETE, DESCRIBE,
/// DESCRIBE_CONFIGS and ALTER_CONFIGS, as bits of Kafka's `AclOperation`.
const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

/// Answers a DescribeGroups.
pub async fn handle(
    groups: &Coordinator,
    caller: &GroupCaller,
    body: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let mut response = DescribeGroupsResponse::default();
    for id in body.groups {
        let mut group = match groups.describe(&id) {
            Ok(Some(summary)) => described(summary),
            Ok(None) => unknown(caller.version),
            Err(error) => failed(error),
        };
        group.group_id = id;
        if caller.version >= 3 && body.include_authorized_operations && group.error_code == 0 {
            group.authorized_operations = ALL_OPERATIONS;
        }
        response.groups.push(group);
    }
    response
}

fn described(summary: GroupSummary) -> DescribedGroup {
    let mut group = DescribedGroup::default();
    group.group_state = state_name(summary.listing.state);
    group.protocol_type = wire(&summary.listing.protocol_type);
    group.protocol_data = wire(&summary.protocol);
    group.members = summary.members.into_iter().map(member).collect();
    group
}

fn member(summary: MemberSummary) -> DescribedGroupMember {
    let mut member = DescribedGroupMember::default();
    member.member_id = wire(&summary.id);
    member.group_instance_id = wire_option(summary.instance_id.as_ref());
    member.client_id = wire(&summary.client_id);
    member.client_host = wire(&summary.client_host);
    member.member_metadata = summary.metadata;
    member.member_assignment = summary.assignment;
    member
}

fn unknown(version: i16) -> DescribedGroup {
    let mut group = DescribedGroup::default();
    group.group_state = state_name(GroupState::Dead);
    if version >= 6 {
        group.error_code = GroupError::GroupIdNotFound.code();
        group.error_message = Some(wire(&GroupError::GroupIdNotFound.to_string()));
    }
    group
}

fn failed(error: GroupError) -> DescribedGroup {
    let mut group = DescribedGroup::default();
    group.error_code = error.code();
    group
}

/// The state as Kafka spells it.
pub(super) fn state_name(state: GroupState) -> StrBytes {
    wire(&state.to_string())
}
