//! DescribeCluster: the cluster's id, controller and brokers. Versions 0–2.
//!
//! **Invariant:** brokers come in order of their ids; one that is not alive, here or by a peer's word, is
//! listed only on demand (version 2), as fenced.

use kafka_wire::describe_cluster_response::DescribeClusterBroker;
use kafka_wire::{DescribeClusterRequest, DescribeClusterResponse};

use super::metadata::controller_id;
use super::metadata_context::MetadataContext;
use super::wire;
use crate::metadata::BrokerRegistration;
use crate::protocol::ErrorCode;

/// Endpoint type of brokers (version 1 on).
const BROKERS: i8 = 1;
/// Endpoint type of controllers, which have no endpoint of their own here.
const CONTROLLERS: i8 = 2;

/// Answers a request.
pub async fn handle(
    context: &MetadataContext,
    version: i16,
    body: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let mut response = DescribeClusterResponse::default();
    if version >= 1 && body.endpoint_type != BROKERS {
        let (code, message) = wrong_endpoint(body.endpoint_type);
        response.error_code = code.code();
        response.error_message = Some(message.into());
        return response;
    }
    let hearsay = context.port.hear().await;
    let mut brokers = context.brokers();
    for (broker, alive) in &mut brokers {
        *alive |= hearsay.there.contains(&broker.id);
    }
    let alive: Vec<BrokerRegistration> =
        brokers.iter().filter(|(_, alive)| *alive).map(|(broker, _)| broker.clone()).collect();
    response.error_message = None;
    response.cluster_id = wire::text(&context.broker.cluster_id);
    response.controller_id = controller_id(context, &hearsay, &alive);
    let with_fenced = version >= 2 && body.include_fenced_brokers;
    response.brokers = brokers
        .iter()
        .filter(|(_, alive)| *alive || with_fenced)
        .map(|(broker, alive)| entry(broker, !alive))
        .collect();
    response
}

fn wrong_endpoint(asked: i8) -> (ErrorCode, String) {
    if asked == CONTROLLERS {
        let text = "The request was sent to an endpoint of type BROKER, but we wanted an endpoint \
                    of type CONTROLLER";
        (ErrorCode::MismatchedEndpointType, text.into())
    } else {
        (ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {asked}"))
    }
}

fn entry(broker: &BrokerRegistration, fenced: bool) -> DescribeClusterBroker {
    let mut entry = DescribeClusterBroker::default();
    entry.broker_id = broker.id.0;
    entry.host = wire::text(&broker.host);
    entry.port = broker.port.into();
    entry.rack = wire::option(broker.rack.as_deref());
    entry.is_fenced = fenced;
    entry
}

#[cfg(test)]
#[path = "describe_cluster_test.rs"]
mod tests;
