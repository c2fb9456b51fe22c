//! InitProducerId: an id for an idempotent producer. Versions 0–5.
//!
//! A producer that names the id and epoch it had (version 3 on, KIP-360) gets a new id at epoch 0
//! all the same, as in Kafka: without a transactional id there is nothing that the old one could
//! be checked against, and the producer raises its epoch by itself.
//!
//! A transactional id is refused with `TRANSACTIONAL_ID_AUTHORIZATION_FAILED`: this broker has no
//! transactions, and of the codes that the API has it is the one that every client takes as final
//! and lays to the transactional id. On others librdkafka asks again until the application's own
//! time is up. It answers before any state of a transaction could come to be.
//!
//! **Invariant:** no id is given out twice in the cluster's life.

use kafka_wire::{InitProducerIdRequest, InitProducerIdResponse};

use super::metadata_context::MetadataContext;
use super::producer_ids::NoId;
use crate::metadata::MetadataError;
use crate::model::ProducerId;
use crate::protocol::ErrorCode;

/// Answers a request.
pub async fn handle(
    context: &MetadataContext,
    body: InitProducerIdRequest,
) -> InitProducerIdResponse {
    let mut response = InitProducerIdResponse::default();
    match next_id(context, &body).await {
        Ok(id) => (response.producer_id, response.producer_epoch) = (id.0, 0),
        Err(code) => {
            (response.producer_id, response.producer_epoch) = (ProducerId::NONE.0, -1);
            response.error_code = code.code();
        }
    }
    response
}

async fn next_id(
    context: &MetadataContext,
    body: &InitProducerIdRequest,
) -> Result<ProducerId, ErrorCode> {
    // Both or neither.
    if (body.producer_id == -1) != (body.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    match body.transactional_id.as_deref() {
        None => {}
        Some("") => return Err(ErrorCode::InvalidRequest),
        Some(_) => return Err(ErrorCode::TransactionalIdAuthorizationFailed),
    }
    context.producer_ids.next().await.map_err(|error| match error {
        // What Kafka says while it waits for a block: every client asks again.
        NoId::Metadata(
            MetadataError::Timeout
            | MetadataError::NotController
            | MetadataError::Unavailable
            | MetadataError::Uncertain
            | MetadataError::Closed,
        ) => ErrorCode::CoordinatorLoadInProgress,
        NoId::Block { .. }
        | NoId::Metadata(
            MetadataError::Codec(_)
            | MetadataError::Raft(_)
            | MetadataError::Io(_)
            | MetadataError::Config(_),
        ) => {
            tracing::error!(%error, "no producer id can be given out");
            ErrorCode::UnknownServerError
        }
    })
}

#[cfg(test)]
#[path = "init_producer_id_test.rs"]
mod tests;
