//! What DescribeCluster answers.

use std::collections::BTreeSet;

use super::super::fake_port::{cluster, sent, words};
use super::*;
use crate::metadata::Hearsay;
use crate::model::BrokerId;

async fn ask(
    context: &MetadataContext,
    version: i16,
    body: &DescribeClusterRequest,
) -> DescribeClusterResponse {
    sent(&handle(context, version, sent(body, version)).await, version)
}

#[tokio::test]
async fn every_version_lists_the_living_and_version_2_the_fenced() {
    let port = cluster(3);
    port.alive.lock().unwrap().remove(&BrokerId(2));
    let context = port.context();
    for version in 0..=2 {
        let response = ask(&context, version, &DescribeClusterRequest::default()).await;
        assert_eq!((response.error_code, response.error_message.is_none()), (0, true));
        assert_eq!(response.cluster_id.as_str(), "cluster-1");
        assert_eq!(response.controller_id, 1);
        assert_eq!(response.endpoint_type, 1);
        assert_eq!(response.cluster_authorized_operations, i32::MIN);
        let ids: Vec<i32> = response.brokers.iter().map(|broker| broker.broker_id).collect();
        assert_eq!(ids, [1, 3]);
    }
    let mut request = DescribeClusterRequest::default();
    request.include_fenced_brokers = true;
    let response = ask(&context, 2, &request).await;
    let fenced: Vec<_> = response.brokers.iter().map(|b| (b.broker_id, b.is_fenced)).collect();
    assert_eq!(fenced, [(1, false), (2, true), (3, false)]);
    assert_eq!(words(&response.brokers[1].rack), "r2");
}

#[tokio::test]
async fn brokers_that_peers_hear_are_not_fenced() {
    let port = cluster(3);
    port.alive.lock().unwrap().retain(|id| *id == BrokerId(1));
    let there = BTreeSet::from([BrokerId(2)]);
    *port.hearsay.lock().unwrap() = Hearsay { there, controller: Some(BrokerId(2)) };
    let mut request = DescribeClusterRequest::default();
    request.include_fenced_brokers = true;
    let response = ask(&port.context(), 2, &request).await;
    let fenced: Vec<_> = response.brokers.iter().map(|b| (b.broker_id, b.is_fenced)).collect();
    assert_eq!(fenced, [(1, false), (2, false), (3, true)]);
    assert_eq!(response.controller_id, 2);
}

#[tokio::test]
async fn there_are_no_controller_endpoints() {
    let context = cluster(1).context();
    for (endpoint, code) in [(2, 114), (0, 115), (7, 115)] {
        let mut request = DescribeClusterRequest::default();
        request.endpoint_type = endpoint;
        let response = ask(&context, 1, &request).await;
        assert_eq!(response.error_code, code);
        assert!(response.brokers.is_empty());
        assert!(!words(&response.error_message).is_empty());
    }
}

#[tokio::test]
async fn for_an_unknown_or_dead_controller_this_broker_is_named() {
    let port = cluster(2);
    port.alive.lock().unwrap().remove(&BrokerId(2));
    for controller in [None, Some(BrokerId(2))] {
        *port.controller.lock().unwrap() = controller;
        let response = ask(&port.context(), 0, &DescribeClusterRequest::default()).await;
        assert_eq!(response.controller_id, 1, "this broker passes on what is asked");
    }
}
