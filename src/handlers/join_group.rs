//! JoinGroup: a client becomes a member. Versions 0–9 (Kafka 4 accepts from 2 and, for
//! librdkafka's sake, advertises from 0: KAFKA-19444).
//!
//! Answers when the generation begins, which may take up to the rebalance timeout.

use std::sync::Arc;

use kafka_wire::join_group_response::JoinGroupResponseMember;
use kafka_wire::{JoinGroupRequest, JoinGroupResponse};
use kafka_wire_core::StrBytes;

use super::GroupCaller;
use super::group_caller::{owned, owned_bytes, owned_option, wire, wire_option};
use crate::group::{Coordinator, GroupError, JoinAnswer, JoinMember, JoinRefusal, JoinRequest};

/// Longest member, instance and protocol ids that are kept; Kafka's clients stay under 300.
const ID_BYTES_MAX: usize = 1_024;
/// How much of the client id goes into a member id.
const CLIENT_ID_BYTES_MAX: usize = 255;
/// Assignors that one member offers; clients offer one or two.
const PROTOCOLS_MAX: usize = 64;

/// Answers a JoinGroup.
pub async fn handle(
    groups: &Coordinator,
    caller: &GroupCaller,
    body: JoinGroupRequest,
) -> JoinGroupResponse {
    if let Some(reason) = &body.reason {
        tracing::debug!(group = %body.group_id, member = %body.member_id, %reason, "joining");
    }
    let group = body.group_id.clone();
    let outcome = match join_request(caller, &body) {
        Ok(request) => {
            // The frame is not needed while the member waits.
            drop(body);
            groups.join(&group, request).await
        }
        Err(error) => Err(JoinRefusal { error, member_id: owned(&body.member_id) }),
    };
    match outcome {
        Ok(answer) => joined(answer),
        Err(refusal) => refused(caller.version, &refusal),
    }
}

fn join_request(caller: &GroupCaller, body: &JoinGroupRequest) -> Result<JoinRequest, GroupError> {
    let too_long = |text: &StrBytes| text.len() > ID_BYTES_MAX;
    if too_long(&body.member_id)
        || too_long(&body.protocol_type)
        || body.group_instance_id.as_ref().is_some_and(|id| id.is_empty() || too_long(id))
        || body.protocols.len() > PROTOCOLS_MAX
        || body.protocols.iter().any(|protocol| too_long(&protocol.name))
    {
        return Err(GroupError::InvalidRequest);
    }
    let instance_id = owned_option(body.group_instance_id.as_ref());
    let prefix = instance_id.as_ref().unwrap_or(&caller.client_id);
    let protocols = body
        .protocols
        .iter()
        .map(|protocol| (owned(&protocol.name), owned_bytes(&protocol.metadata)))
        .collect();
    Ok(JoinRequest {
        member_id: owned(&body.member_id),
        fresh_id: fresh_member_id(prefix),
        instance_id,
        client_id: clipped(&caller.client_id).into(),
        client_host: caller.client_host.clone(),
        session_timeout_ms: body.session_timeout_ms,
        rebalance_timeout_ms: match caller.version {
            0 => body.session_timeout_ms,
            _ => body.rebalance_timeout_ms.max(0),
        },
        protocol_type: owned(&body.protocol_type),
        protocols,
        requires_known_id: caller.version >= 4,
        can_skip_assignment: caller.version >= 9,
    })
}

/// "<client or instance id>-<UUID>", as Kafka forms it.
fn fresh_member_id(prefix: &str) -> Arc<str> {
    let bits = crate::model::TopicId::random().0;
    let (a, b, c, d, e) =
        (bits >> 96, bits >> 80 & 0xffff, bits >> 64 & 0xffff, bits >> 48 & 0xffff, bits);
    let e = e & 0xffff_ffff_ffff;
    format!("{}-{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}", clipped(prefix)).into()
}

fn clipped(text: &str) -> &str {
    let mut end = text.len().min(CLIENT_ID_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn joined(answer: JoinAnswer) -> JoinGroupResponse {
    let member = |member: JoinMember| {
        let mut wired = JoinGroupResponseMember::default();
        wired.member_id = wire(&member.id);
        wired.group_instance_id = wire_option(member.instance_id.as_ref());
        wired.metadata = member.metadata;
        wired
    };
    let mut response = JoinGroupResponse::default();
    response.generation_id = answer.generation;
    response.protocol_type = wire_option(answer.protocol_type.as_ref());
    response.protocol_name = Some(wire(answer.protocol.as_deref().unwrap_or_default()));
    response.leader = wire(&answer.leader);
    response.skip_assignment = answer.skip_assignment;
    response.member_id = wire(&answer.member_id);
    response.members = answer.members.into_iter().map(member).collect();
    response
}

fn refused(version: i16, refusal: &JoinRefusal) -> JoinGroupResponse {
    let mut response = JoinGroupResponse::default();
    response.error_code = refusal.error.code();
    response.member_id = wire(&refusal.member_id);
    if version >= 7 {
        response.protocol_name = None;
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_ids_are_unique_and_bounded() {
        let long = "ü".repeat(300);
        let id = fresh_member_id(&long);
        assert_eq!(id.len(), 254 + 1 + 36);
        assert_ne!(fresh_member_id("client"), fresh_member_id("client"));
        assert_eq!(fresh_member_id("client").len(), "client".len() + 37);
    }
}
