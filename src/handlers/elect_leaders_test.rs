//! What ElectLeaders answers.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use super::super::fake_port::{FakePort, cluster, sent, words};
use super::super::metadata_port::MetadataPort;
use super::*;
use crate::model::BrokerId;

async fn ask(
    context: &MetadataContext,
    version: i16,
    asked: Option<&[(&str, &[i32])]>,
    change: impl FnOnce(&mut ElectLeadersRequest),
) -> ElectLeadersResponse {
    let mut request = ElectLeadersRequest::default();
    request.timeout_ms = 1000;
    let topic = |(name, partitions): &(&str, &[i32])| {
        let mut topic = TopicPartitions::default();
        topic.topic = wire::text(name);
        topic.partitions = partitions.to_vec();
        topic
    };
    request.topic_partitions = asked.map(|topics| topics.iter().map(topic).collect());
    change(&mut request);
    let response = handle(context, sent(&request, version)).await;
    sent(&response, version)
}

fn codes(response: &ElectLeadersResponse) -> Vec<(String, Vec<(i32, i16)>)> {
    let partition = |result: &PartitionResult| (result.partition_id, result.error_code);
    let topics = response.replica_election_results.iter();
    topics
        .map(|topic| {
            (topic.topic.to_string(), topic.partition_result.iter().map(partition).collect())
        })
        .collect()
}

/// Topic `t` of four partitions on three brokers: 0 is led by its preferred replica, 1 by another one,
/// 2 by another one while the preferred is down, 3 by another one.
async fn skewed() -> (Arc<FakePort>, TopicId) {
    let port = cluster(3);
    let topic = port.topic("t", 4, 3).await;
    let image = port.image();
    let replicas = &image.topic_by_id(topic).unwrap().partitions;
    let down = replicas[2][0];
    assert!(replicas[1][0] != down && replicas[3][0] != down, "placed round the brokers");
    for index in 1..4 {
        port.elect(topic, index, replicas[index as usize][1].0, 2);
    }
    port.alive.lock().unwrap().remove(&down);
    (port, topic)
}

fn leader(port: &FakePort, topic: TopicId, index: i32) -> BrokerId {
    port.leader_of(topic, PartitionIndex(index)).unwrap().0
}

#[tokio::test]
async fn every_version_answers_for_every_partition() {
    for version in 0..=2 {
        let (port, topic) = skewed().await;
        let asked: [(&str, &[i32]); 3] = [("t", &[2, 1, 9, 0, 1, -1]), ("none", &[0]), ("t", &[])];
        let response = ask(&port.context(), version, Some(&asked), |_| {}).await;
        assert_eq!(response.error_code, 0);
        let expected = [
            ("t".to_owned(), vec![(2, 80), (1, 0), (9, 3), (0, 84), (1, 0), (-1, 3)]),
            ("none".to_owned(), vec![(0, 3)]),
            ("t".to_owned(), vec![]),
        ];
        assert_eq!(codes(&response), expected);
        let results = &response.replica_election_results[0].partition_result;
        assert!(words(&results[0].error_message).contains("it is down"));
        assert_eq!(results[1].error_message, None);
        let preferred = port.image().topic_by_id(topic).unwrap().partitions[1][0];
        assert_eq!(leader(&port, topic, 1), preferred);
        assert_ne!(leader(&port, topic, 3), port.image().topic("t").unwrap().partitions[3][0]);
    }
}

#[tokio::test]
async fn of_all_partitions_those_that_need_nothing_are_left_out() {
    let (port, _) = skewed().await;
    port.topic("calm", 2, 3).await;
    let response = ask(&port.context(), 2, None, |_| {}).await;
    assert_eq!(codes(&response), [("t".to_owned(), vec![(1, 0), (2, 80), (3, 0)])]);
    let response = ask(&port.context(), 2, Some(&[]), |_| {}).await;
    assert_eq!(codes(&response), [], "none is not all");
}

#[tokio::test]
async fn an_unclean_election_is_never_held() {
    let (port, topic) = skewed().await;
    port.leaders.lock().unwrap().remove(&(topic, PartitionIndex(3)));
    let asked: [(&str, &[i32]); 1] = [("t", &[0, 1, 3, 7])];
    let response = ask(&port.context(), 2, Some(&asked), |r| r.election_type = 1).await;
    assert_eq!(codes(&response), [("t".to_owned(), vec![(0, 84), (1, 84), (3, 83), (7, 3)])]);
    let before = port.calls.load(SeqCst);
    let response = ask(&port.context(), 2, Some(&asked), |r| r.election_type = 2).await;
    assert_eq!((response.error_code, response.replica_election_results.len()), (42, 0));
    assert_eq!(port.calls.load(SeqCst), before);
}

#[tokio::test]
async fn a_deadline_that_has_passed_elects_nobody() {
    let (port, topic) = skewed().await;
    let before = leader(&port, topic, 1);
    let asked: [(&str, &[i32]); 1] = [("t", &[1, 8])];
    let response = ask(&port.context(), 1, Some(&asked), |r| r.timeout_ms = 0).await;
    assert_eq!(codes(&response), [("t".to_owned(), vec![(1, 7), (8, 3)])]);
    assert_eq!(leader(&port, topic, 1), before);
}
