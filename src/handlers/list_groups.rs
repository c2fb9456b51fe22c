//! ListGroups: the groups that this node coordinates. Versions 0–5; from 4 on filtered by state,
//! from 5 on by type. Clients ask every node and merge.

use kafka_wire::list_groups_response::ListedGroup;
use kafka_wire::{ListGroupsRequest, ListGroupsResponse};
use kafka_wire_core::StrBytes;

use super::describe_groups::state_name;
use super::group_caller::wire;
use crate::group::Coordinator;

/// Type of the groups that this room has (KIP-848).
const CLASSIC: &str = "classic";

/// Answers a ListGroups.
pub async fn handle(groups: &Coordinator, body: ListGroupsRequest) -> ListGroupsResponse {
    let mut response = ListGroupsResponse::default();
    match groups.list() {
        Err(error) => response.error_code = error.code(),
        Ok(listings) => {
            let listed = listings.into_iter().map(|listing| {
                let mut group = ListedGroup::default();
                group.group_id = wire(&listing.group);
                group.protocol_type = wire(&listing.protocol_type);
                group.group_state = state_name(listing.state);
                group.group_type = wire(CLASSIC);
                group
            });
            let passes = |group: &ListedGroup| {
                passes(&body.states_filter, &group.group_state)
                    && passes(&body.types_filter, &group.group_type)
            };
            response.groups = listed.filter(passes).collect();
            response.groups.sort_by(|a, b| a.group_id.cmp(&b.group_id));
        }
    }
    response
}

/// No filter lets everything pass; names are compared without regard to case, as Kafka does.
fn passes(filter: &[StrBytes], value: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(value))
}
