//! What CreatePartitions answers.

use kafka_wire::create_partitions_request::CreatePartitionsAssignment;

use super::super::fake_port::{cluster, sent, words};
use super::super::metadata_port::MetadataPort;
use super::*;

fn topic(name: &str, count: i32, rows: Option<&[&[i32]]>) -> CreatePartitionsTopic {
    let mut topic = CreatePartitionsTopic::default();
    topic.name = wire::text(name);
    topic.count = count;
    let row = |brokers: &&[i32]| {
        let mut row = CreatePartitionsAssignment::default();
        row.broker_ids = brokers.to_vec();
        row
    };
    topic.assignments = rows.map(|rows| rows.iter().map(row).collect());
    topic
}

async fn ask(
    context: &MetadataContext,
    version: i16,
    topics: Vec<CreatePartitionsTopic>,
    change: impl FnOnce(&mut CreatePartitionsRequest),
) -> Vec<CreatePartitionsTopicResult> {
    let mut request = CreatePartitionsRequest::default();
    request.topics = topics;
    request.timeout_ms = 1000;
    change(&mut request);
    let response = handle(context, sent(&request, version)).await;
    sent(&response, version).results
}

fn codes(results: &[CreatePartitionsTopicResult]) -> Vec<(&str, i16)> {
    results.iter().map(|result| (result.name.as_str(), result.error_code)).collect()
}

#[tokio::test]
async fn every_version_answers_for_every_topic() {
    let port = cluster(2);
    let context = port.context();
    for version in 0..=3 {
        for name in ["grown", "placed", "same", "less", "short", "long", "dup"] {
            port.topic(name, 2, 1).await;
        }
        let topics = vec![
            topic("grown", 5, None),
            topic("dup", 3, None),
            topic("placed", 3, Some(&[&[2]])),
            topic("same", 2, None),
            topic("less", 1, None),
            topic("negative", -1, None),
            topic("short", 4, Some(&[&[1]])),
            topic("long", 3, Some(&[&[1, 2]])),
            topic("dup", 4, None),
        ];
        let validated = ask(&context, version, topics.clone(), |r| r.validate_only = true).await;
        assert_eq!(port.image().topic("grown").unwrap().partitions.len(), 2);
        let results = ask(&context, version, topics, |_| {}).await;
        let expected = [
            ("grown", 0),
            ("dup", 42),
            ("placed", 0),
            ("same", 37),
            ("less", 37),
            ("negative", 3),
            ("short", 39),
            ("long", 39),
        ];
        assert_eq!(codes(&results), expected);
        assert_eq!(codes(&validated), expected);
        assert!(results[0].error_message.is_none());
        assert_eq!(words(&results[1].error_message), "Duplicate topic name.");
        assert_eq!(words(&results[3].error_message), "Topic already has 2 partition(s).");
        let image = port.image();
        assert_eq!(image.topic("grown").unwrap().partitions.len(), 5);
        assert_eq!(image.topic("placed").unwrap().partitions[2][0].0, 2);
        assert_eq!(image.topic("dup").unwrap().partitions.len(), 2);
        let selectors = image.topics_by_id.keys().copied().map(crate::metadata::TopicSelector::Id);
        port.delete_topics(selectors.collect(), std::time::Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn a_deadline_that_has_passed_changes_nothing() {
    let port = cluster(1);
    port.topic("t", 1, 1).await;
    let results = ask(&port.context(), 3, vec![topic("t", 2, None)], |r| r.timeout_ms = 0).await;
    assert_eq!(codes(&results), [("t", 7)]);
    assert_eq!(port.image().topic("t").unwrap().partitions.len(), 1);
}
