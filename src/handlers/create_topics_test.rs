//! What CreateTopics answers.

use kafka_wire::create_topics_request::{CreatableReplicaAssignment, CreatableTopicConfig};
use kafka_wire_core::Uuid;

use super::super::fake_port::{cluster, sent, unavailable, words};
use super::super::metadata_port::MetadataPort;
use super::*;

fn topic(name: &str, partitions: i32, replication: i16) -> CreatableTopic {
    let mut topic = CreatableTopic::default();
    topic.name = wire::text(name);
    (topic.num_partitions, topic.replication_factor) = (partitions, replication);
    topic
}

fn with_config(mut topic: CreatableTopic, name: &str, value: Option<&str>) -> CreatableTopic {
    let mut config = CreatableTopicConfig::default();
    config.name = wire::text(name);
    config.value = wire::option(value);
    topic.configs.push(config);
    topic
}

fn assigned(mut topic: CreatableTopic, rows: &[(i32, &[i32])]) -> CreatableTopic {
    for (index, brokers) in rows {
        let mut row = CreatableReplicaAssignment::default();
        row.partition_index = *index;
        row.broker_ids = brokers.to_vec();
        topic.assignments.push(row);
    }
    topic
}

async fn ask(
    context: &MetadataContext,
    version: i16,
    topics: Vec<CreatableTopic>,
    change: impl FnOnce(&mut CreateTopicsRequest),
) -> Vec<CreatableTopicResult> {
    let mut request = CreateTopicsRequest::default();
    request.topics = topics;
    request.timeout_ms = 1000;
    change(&mut request);
    let response = handle(context, version, sent(&request, version)).await;
    sent(&response, version).topics
}

fn codes(results: &[CreatableTopicResult]) -> Vec<(&str, i16)> {
    results.iter().map(|result| (result.name.as_str(), result.error_code)).collect()
}

#[tokio::test]
async fn every_version_creates_and_tells_what_it_can() {
    let port = cluster(3);
    let context = port.context();
    for version in 2..=7 {
        let names = [format!("a{version}"), format!("b{version}")];
        let asked = with_config(topic(&names[1], 2, 3), "retention.ms", Some("5"));
        let results = ask(&context, version, vec![topic(&names[0], -1, -1), asked], |_| {}).await;
        assert_eq!(codes(&results), [(names[0].as_str(), 0), (names[1].as_str(), 0)]);
        assert!(results[0].error_message.is_none());
        let image = port.image();
        let (a, b) = (image.topic(&names[0]).unwrap(), image.topic(&names[1]).unwrap());
        assert_eq!((a.partitions.len(), a.replication_factor()), (3, 1), "the defaults");
        assert_eq!((b.partitions.len(), b.replication_factor()), (2, 3));
        let id = if version >= 7 { wire::uuid(b.id) } else { Uuid::ZERO };
        assert_eq!(results[1].topic_id, id);
        if version < 5 {
            continue;
        }
        assert_eq!((results[1].num_partitions, results[1].replication_factor), (2, 3));
        let configs = results[1].configs.as_ref().unwrap();
        assert_eq!(configs.len(), TOPIC_CONFIGS.len());
        let of = |name: &str| configs.iter().find(|config| config.name.as_str() == name).unwrap();
        let retention = of("retention.ms");
        assert_eq!((words(&retention.value), retention.config_source), ("5", 1));
        assert_eq!(of("segment.ms").config_source, 5);
        let default = results[0].configs.as_ref().unwrap();
        let retention = default.iter().find(|c| c.name.as_str() == "retention.ms").unwrap();
        assert_eq!((words(&retention.value), retention.config_source), ("7200000", 4));
    }
}

#[tokio::test]
async fn each_mistake_has_its_code_and_words() {
    let port = cluster(2);
    port.topic("taken.x", 1, 1).await;
    let context = port.context();
    let manual = |name, rows: &[(i32, &[i32])]| assigned(topic(name, -1, -1), rows);
    let topics = vec![
        topic("twice", 1, 1),
        topic("taken.x", 1, 1),
        topic("a/b", 1, 1),
        topic("twice", 2, 1),
        topic("taken_x", 1, 1),
        topic("p0", 0, 1),
        topic("r0", 1, 0),
        topic("r3", 1, 3),
        with_config(topic("c1", 1, 1), "no.such", Some("1")),
        with_config(topic("c2", 1, 1), "retention.ms", None),
        with_config(topic("c3", 1, 1), "retention.ms", Some("soon")),
        manual("m1", &[(0, &[1]), (0, &[2])]),
        manual("m2", &[(0, &[1, 1])]),
        manual("m3", &[(0, &[9])]),
        manual("m4", &[(1, &[1])]),
        assigned(topic("m5", 1, -1), &[(0, &[1])]),
        manual("good", &[(1, &[2, 1]), (0, &[1, 2])]),
        topic("__cluster_metadata", 1, 1),
        topic("many", i32::MAX, 1),
    ];
    let results = ask(&context, 7, topics, |_| {}).await;
    let expected = [
        ("twice", 42),
        ("taken.x", 36),
        ("a/b", 17),
        ("taken_x", 17),
        ("p0", 37),
        ("r0", 38),
        ("r3", 38),
        ("c1", 40),
        ("c2", 40),
        ("c3", 40),
        ("m1", 39),
        ("m2", 39),
        ("m3", 39),
        ("m4", 39),
        ("m5", 42),
        ("good", 0),
        ("__cluster_metadata", 42),
        ("many", 44),
    ];
    assert_eq!(codes(&results), expected);
    assert_eq!(words(&results[0].error_message), "Duplicate topic name.");
    assert_eq!(words(&results[1].error_message), "Topic 'taken.x' already exists.");
    assert!(results.iter().all(|r| r.error_code == 0 || !words(&r.error_message).is_empty()));
    assert_eq!(port.image().topics_by_id.len(), 2);
    let image = port.image();
    let good = &image.topic("good").unwrap().partitions;
    assert_eq!((good[0][0].0, good[1][0].0), (1, 2));
}

#[tokio::test]
async fn validation_creates_nothing() {
    let port = cluster(1);
    let context = port.context();
    for version in 2..=7 {
        let topics = vec![topic("t", 4, 1), topic("..", 1, 1)];
        let results = ask(&context, version, topics, |r| r.validate_only = true).await;
        assert_eq!(codes(&results), [("t", 0), ("..", 17)]);
        assert_eq!(results[0].num_partitions, if version >= 5 { 4 } else { -1 });
    }
    assert!(port.image().topics_by_id.is_empty());
}

#[tokio::test]
async fn no_answer_in_time_is_a_time_out_for_each() {
    let port = cluster(1);
    let context = port.context();
    for timeout_ms in [0, -1, i32::MIN] {
        let results = ask(&context, 7, vec![topic("t", 1, 1)], |r| r.timeout_ms = timeout_ms).await;
        assert_eq!(codes(&results), [("t", 7)]);
    }
    *port.failure.lock().unwrap() = Some(unavailable);
    let topics = vec![topic("t", 1, 1), topic("u", 1, 1), topic("u", 1, 1)];
    let results = ask(&context, 7, topics, |_| {}).await;
    assert_eq!(codes(&results), [("t", 7), ("u", 42)]);
    assert!(port.image().topics_by_id.is_empty());
    assert!(ask(&context, 7, vec![], |_| {}).await.is_empty());
}
