//! What InitProducerId answers.

use super::super::fake_port::{cluster, sent, unavailable};
use super::super::wire;
use super::*;

async fn ask(
    context: &MetadataContext,
    version: i16,
    change: impl FnOnce(&mut InitProducerIdRequest),
) -> (i16, i64, i16) {
    let mut request = InitProducerIdRequest::default();
    request.transactional_id = None;
    request.transaction_timeout_ms = i32::MAX;
    change(&mut request);
    let response = handle(context, sent(&request, version)).await;
    let response = sent(&response, version);
    (response.error_code, response.producer_id, response.producer_epoch)
}

#[tokio::test]
async fn every_version_gets_a_new_id_at_epoch_0() {
    let context = cluster(1).context();
    for version in 0..=5 {
        assert_eq!(ask(&context, version, |_| {}).await, (0, version.into(), 0));
    }
}

#[tokio::test]
async fn an_id_goes_with_its_epoch_and_is_not_kept() {
    let context = cluster(1).context();
    for version in 3..=5 {
        let had = |id, epoch| {
            move |r: &mut InitProducerIdRequest| (r.producer_id, r.producer_epoch) = (id, epoch)
        };
        let (code, id, epoch) = ask(&context, version, had(500, 3)).await;
        assert_eq!((code, epoch), (0, 0));
        assert_ne!(id, 500);
        assert_eq!(ask(&context, version, had(500, -1)).await, (42, -1, -1));
        assert_eq!(ask(&context, version, had(-1, 3)).await, (42, -1, -1));
    }
}

#[tokio::test]
async fn transactional_ids_are_refused_for_good() {
    let port = cluster(1);
    let context = port.context();
    for version in 0..=5 {
        let with = |id: &'static str| {
            move |r: &mut InitProducerIdRequest| r.transactional_id = Some(wire::text(id))
        };
        assert_eq!(ask(&context, version, with("tx")).await, (53, -1, -1));
        assert_eq!(ask(&context, version, with("")).await, (42, -1, -1));
    }
    assert_eq!(port.calls.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn without_a_block_the_client_is_to_ask_again() {
    let port = cluster(1);
    *port.failure.lock().unwrap() = Some(unavailable);
    let context = port.context();
    assert_eq!(ask(&context, 4, |_| {}).await, (14, -1, -1));
    *port.failure.lock().unwrap() = None;
    assert_eq!(ask(&context, 4, |_| {}).await, (0, 0, 0));
}
