//! Blocks of producer ids, as they are handed out and used up.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;

use proptest::prelude::*;

use super::super::fake_port::{cluster, unavailable};
use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_at_once_get_an_id_each_and_blocks_are_fetched_once() {
    let port = cluster(1);
    let ids = ProducerIds::new(port.clone());
    let take = |_| {
        let ids = ids.clone();
        tokio::spawn(async move { ids.next().await.unwrap().0 })
    };
    let tasks: Vec<_> = (0..5000).map(take).collect();
    let mut seen = BTreeSet::new();
    for task in tasks {
        assert!(seen.insert(task.await.unwrap()));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), (0..5000).collect::<Vec<_>>());
    assert!(port.calls.load(SeqCst) <= 6, "five blocks, and perhaps one ahead");
}

#[tokio::test]
async fn the_next_block_is_there_before_this_one_ends() {
    let port = cluster(1);
    let ids = ProducerIds::new(port.clone());
    for _ in 0..899 {
        ids.next().await.unwrap();
    }
    assert_eq!(port.calls.load(SeqCst), 1);
    ids.next().await.unwrap();
    let mut stock = ids.stock().next.clone();
    while stock.is_none() {
        tokio::task::yield_now().await;
        stock = ids.stock().next.clone();
    }
    assert_eq!(stock, Some(1000..2000));
    // No leader any more: the stock lasts.
    *port.failure.lock().unwrap() = Some(unavailable);
    for id in 900..2000 {
        assert_eq!(ids.next().await.unwrap(), ProducerId(id));
    }
    assert!(ids.next().await.is_err());
    *port.failure.lock().unwrap() = None;
    assert_eq!(ids.next().await.unwrap(), ProducerId(2000));
}

#[tokio::test]
async fn a_request_that_is_given_up_takes_nothing_from_the_others() {
    let port = cluster(1);
    port.held.send_replace(true);
    let ids = ProducerIds::new(port.clone());
    let given_up = tokio::spawn({
        let ids = ids.clone();
        async move { ids.next().await }
    });
    while port.calls.load(SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    port.held.send_replace(false);
    assert!(ids.next().await.is_ok());
}

proptest! {
    /// Whatever blocks come, no id is given out twice: a block that reaches back is not taken.
    #[test]
    fn no_id_comes_twice(blocks in prop::collection::vec((0_i64..60, 0_i64..20), 1..20)) {
        let mut stock = Stock::default();
        let mut last = -1;
        for (start, len) in blocks {
            let end = stock.end;
            let taken = stock.add(start..start + len);
            prop_assert_eq!(taken.is_ok(), len > 0 && start >= end);
            while let Some(ProducerId(id)) = stock.take() {
                prop_assert!(id > last, "{} after {}", id, last);
                last = id;
            }
        }
    }
}
