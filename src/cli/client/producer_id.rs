//! A producer id, which makes a producer idempotent.

use kafka_wire::InitProducerIdRequest;
use tokio::time::{Instant, sleep};

use super::cluster::{Client, RETRY_AFTER};
use super::error::{ClientFailure, check};
use crate::model::{ProducerEpoch, ProducerId};

/// Asks the cluster for an id that nobody else has, and its epoch.
///
/// # Errors
/// A refusal, or none answers until the deadline.
pub(crate) async fn producer_id(
    client: &mut Client,
) -> Result<(ProducerId, ProducerEpoch), ClientFailure> {
    let mut request = InitProducerIdRequest::default();
    // The default is an empty name, which would ask for transactions.
    request.transactional_id = None;
    request.transaction_timeout_ms = 60_000;
    (request.producer_id, request.producer_epoch) = (-1, -1);
    let deadline = client.deadline();
    loop {
        let answer = client.call_controller(&request, 5, deadline).await;
        let checked = answer.and_then(|got| {
            check(got.error_code, "a producer id", None)?;
            Ok((ProducerId(got.producer_id), ProducerEpoch(got.producer_epoch)))
        });
        match checked {
            Err(error) if error.is_retriable() && Instant::now() + RETRY_AFTER < deadline => {
                sleep(RETRY_AFTER).await;
            }
            done => return done,
        }
    }
}
