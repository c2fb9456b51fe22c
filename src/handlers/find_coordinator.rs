//! FindCoordinator: which node coordinates a group. Versions 0–6; from 4 on, many keys.
//!
//! **Invariant:** every node answers, from what it knows of the metadata group's leader, or what peers know
//! where it does not hear all; there is one coordinator for all groups.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use kafka_wire::find_coordinator_response::Coordinator;
use kafka_wire::{FindCoordinatorRequest, FindCoordinatorResponse};

use super::group_caller::wire;
use crate::group::GroupError;
use crate::model::BrokerId;

/// Key type of consumer groups; 1 is transactions, 2 share groups.
const GROUP: i8 = 0;

/// Where clients reach a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoordinatorEndpoint {
    /// The node.
    pub node: BrokerId,
    /// As advertised on the listener that the client uses.
    pub host: Arc<str>,
    /// As advertised.
    pub port: i32,
}

/// Knows who coordinates.
pub trait CoordinatorLookup: Send + Sync {
    /// The coordinator of all groups, `None` while there is no leader.
    fn group_coordinator(&self) -> BoxFuture<'_, Option<CoordinatorEndpoint>>;
}

/// Answers a FindCoordinator.
pub async fn handle(
    lookup: &dyn CoordinatorLookup,
    version: i16,
    body: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let found = find(lookup, body.key_type).await;
    let mut response = FindCoordinatorResponse::default();
    if version >= 4 {
        let coordinator = |key| {
            let mut coordinator = Coordinator::default();
            coordinator.key = key;
            let (node_id, host, port, error_code, error_message) = fields(&found);
            coordinator.node_id = node_id;
            coordinator.host = wire(host);
            coordinator.port = port;
            coordinator.error_code = error_code;
            coordinator.error_message = error_message.as_deref().map(wire);
            coordinator
        };
        response.coordinators = body.coordinator_keys.into_iter().map(coordinator).collect();
    } else {
        let (node_id, host, port, error_code, error_message) = fields(&found);
        response.node_id = node_id;
        response.host = wire(host);
        response.port = port;
        response.error_code = error_code;
        response.error_message = error_message.as_deref().map(wire);
    }
    response
}

/// A coordinator of a kind that this broker does not have is refused for good: "not available"
/// would make the client ask again until its own time is up.
async fn find(
    lookup: &dyn CoordinatorLookup,
    key_type: i8,
) -> Result<CoordinatorEndpoint, (GroupError, String)> {
    if key_type != GROUP {
        let message = format!("there are no coordinators of key type {key_type}");
        return Err((GroupError::InvalidRequest, message));
    }
    let error = GroupError::CoordinatorNotAvailable;
    lookup.group_coordinator().await.ok_or_else(|| (error, error.to_string()))
}

type Fields<'a> = (i32, &'a str, i32, i16, Option<String>);

fn fields(found: &Result<CoordinatorEndpoint, (GroupError, String)>) -> Fields<'_> {
    match found {
        Ok(endpoint) => (endpoint.node.0, &endpoint.host, endpoint.port, 0, None),
        Err((error, message)) => (-1, "", -1, error.code(), Some(message.clone())),
    }
}
