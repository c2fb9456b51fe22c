//! Topics that come, go and come again, and their offsets by time.

use std::time::Duration;

use jackdaw_chaos::cluster::{Cluster, ClusterView};
use jackdaw_chaos::workload::{create_topic, delete_topic};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use super::support::{
    PATIENCE, Record, cluster, consumer, options, read, records, retry, send, send_all, watermarks,
};

fn topic_id(view: &ClusterView, topic: &str) -> Option<String> {
    view.topics.iter().find(|known| known.name == topic).map(|topic| topic.id.clone())
}

#[test]
fn an_unknown_topic_is_made_by_asking_for_it() {
    let cluster = cluster(1);
    assert_eq!(send_all(&cluster.bootstrap(), "auto", 0, &records(1), &[]), [0]);
    assert_eq!(cluster.view().unwrap().partitions("auto").len(), 1);
}

#[test]
fn an_unknown_topic_is_not_made_where_that_is_off() {
    let options = options(1).set("topics.auto_create", "false");
    let cluster = Cluster::start(&options, PATIENCE).unwrap();
    let patience = [("message.timeout.ms", "3000"), ("topic.metadata.propagation.max.ms", "1000")];
    let outcomes = send(&cluster.bootstrap(), "auto", 0, &records(1), &patience);
    // The client's own code, or the broker's, whichever it met last.
    let unknown = [RDKafkaErrorCode::UnknownTopic, RDKafkaErrorCode::UnknownTopicOrPartition];
    assert!(unknown.map(Err).contains(&outcomes[0]), "{outcomes:?}");
    assert_eq!(cluster.view().unwrap().topics, []);
}

#[test]
fn a_topic_made_again_is_another_topic() {
    let cluster = cluster(1);
    let bootstrap = cluster.bootstrap();
    create_topic(&bootstrap, "again", 3, 1).unwrap();
    send_all(&bootstrap, "again", 2, &records(10), &[]);
    let first = topic_id(&cluster.view().unwrap(), "again").unwrap();

    delete_topic(&bootstrap, "again").unwrap();
    let gone = |view: &ClusterView| topic_id(view, "again").is_none() && view.replicas.is_empty();
    cluster.wait_view("the topic and its replicas are gone", PATIENCE, gone).unwrap();

    create_topic(&bootstrap, "again", 3, 1).unwrap();
    cluster.wait_led("again", PATIENCE).unwrap();
    let second = topic_id(&cluster.view().unwrap(), "again").unwrap();
    assert_ne!(first, second);
    assert_eq!(watermarks(&consumer(&bootstrap, "g", &[]), "again", 2), (0, 0));
    assert_eq!(send_all(&bootstrap, "again", 2, &records(5), &[]), [0, 1, 2, 3, 4]);
    assert_eq!(read(&bootstrap, "again", 2, &[]).len(), 5);
}

#[test]
fn a_topic_that_exists_is_not_made_twice() {
    let cluster = cluster(1);
    create_topic(&cluster.bootstrap(), "once", 1, 1).unwrap();
    let error = create_topic(&cluster.bootstrap(), "once", 1, 1).unwrap_err().to_string();
    assert!(error.contains("TopicAlreadyExists") || error.contains("already exists"), "{error}");
    let error = create_topic(&cluster.bootstrap(), "wide", 1, 2).unwrap_err().to_string();
    assert!(error.contains("eplication"), "{error}");
    for name in ["..", "a/b", &"x".repeat(250)] {
        let error = create_topic(&cluster.bootstrap(), name, 1, 1).unwrap_err().to_string();
        assert!(error.contains("nvalid"), "{name}: {error}");
    }
}

#[test]
fn offsets_are_found_by_time() {
    let cluster = cluster(1);
    let bootstrap = cluster.bootstrap();
    let base = 1_700_000_000_000;
    for n in 0..5 {
        // One batch each, so that the answer cannot come from a batch's head alone.
        let batch: Vec<Record> = (0..3)
            .map(|m| Record {
                timestamp: Some(base + n * 3000 + m * 1000),
                ..Record::new("k", format!("{n} {m}"))
            })
            .collect();
        send_all(&bootstrap, "timed", 0, &batch, &[("linger.ms", "50")]);
    }
    let consumer = consumer(&bootstrap, "g", &[]);
    for (timestamp, expected) in [
        (0, Offset::Offset(0)),
        (base, Offset::Offset(0)),
        (base + 1, Offset::Offset(1)),
        (base + 7000, Offset::Offset(7)),
        (base + 7001, Offset::Offset(8)),
        (base + 14_000, Offset::Offset(14)),
        (base + 14_001, Offset::End),
    ] {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_offset("timed", 0, Offset::Offset(timestamp)).unwrap();
        let found = retry(|| consumer.offsets_for_times(asked.clone(), Duration::from_secs(10)));
        assert_eq!(found.elements()[0].offset(), expected, "at {timestamp}");
    }
}
