//! The client against librdkafka's mock cluster: another team's idea of the protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaApiKey;

use super::*;
use crate::model::Timestamp;
use crate::model::compression::Compression;
use crate::protocol::ErrorCode;

type Mock = MockCluster<'static, DefaultProducerContext>;

fn mock() -> (Mock, Vec<String>) {
    let mock = MockCluster::new(3).unwrap();
    // The newest versions before tagged fields: the mock writes those loosely.
    for (api, version) in [
        (RDKafkaApiKey::Produce, 8),
        (RDKafkaApiKey::Fetch, 11),
        (RDKafkaApiKey::ListOffsets, 5),
        (RDKafkaApiKey::Metadata, 8),
        (RDKafkaApiKey::OffsetCommit, 7),
        (RDKafkaApiKey::OffsetFetch, 5),
        (RDKafkaApiKey::FindCoordinator, 2),
        (RDKafkaApiKey::JoinGroup, 5),
        (RDKafkaApiKey::Heartbeat, 3),
        (RDKafkaApiKey::LeaveGroup, 3),
        (RDKafkaApiKey::SyncGroup, 3),
        (RDKafkaApiKey::InitProducerId, 1),
    ] {
        mock.apiversion(api, Some(0), Some(version)).unwrap();
    }
    mock.create_topic("t", 4, 3).unwrap();
    let bootstrap = mock.bootstrap_servers().split(',').map(str::to_owned).collect();
    (mock, bootstrap)
}

async fn client(bootstrap: &[String]) -> Client {
    Client::connect(bootstrap, Duration::from_secs(20)).await.unwrap()
}

fn options(compression: Compression) -> ProducerOptions {
    ProducerOptions { acks: -1, compression, partition: None, batch_bytes: 1024 }
}

async fn read_all(bootstrap: &[String]) -> BTreeMap<i32, Vec<String>> {
    let mut reader = Consumer::open(client(bootstrap).await, "t").await.unwrap();
    let partitions = reader.partitions();
    let ends = reader.offsets(&partitions, Position::End).await.unwrap();
    reader.positions = reader.offsets(&partitions, Position::Beginning).await.unwrap();
    let mut read: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    while ends.iter().any(|(index, end)| reader.positions[index] < *end) {
        for fetched in reader.fetch(100).await.unwrap() {
            for record in &fetched.batch {
                let value = record.unwrap().value.unwrap().to_vec();
                read.entry(fetched.partition).or_default().push(String::from_utf8(value).unwrap());
            }
        }
    }
    read
}

#[tokio::test]
async fn what_is_produced_is_consumed_in_order_by_key() {
    let (_mock, bootstrap) = mock();
    for compression in Compression::ALL {
        let client = client(&bootstrap).await;
        let mut producer = Producer::open(client, "t", options(compression)).await.unwrap();
        for n in 0..200 {
            let key = format!("key-{}", n % 10);
            let value = format!("{compression}-{n}");
            if producer.append(Timestamp(1), Some(key.as_bytes()), value.as_bytes()) {
                producer.flush().await.unwrap();
            }
        }
        producer.flush().await.unwrap();
    }
    let read = read_all(&bootstrap).await;
    let all: usize = read.values().map(Vec::len).sum();
    assert_eq!(all, 200 * Compression::ALL.len());
    for values in read.values() {
        for compression in Compression::ALL {
            let prefix = format!("{compression}-");
            let of_codec = values.iter().filter_map(|value| value.strip_prefix(&prefix));
            let numbers: Vec<u32> = of_codec.map(|number| number.parse().unwrap()).collect();
            assert!(numbers.is_sorted(), "{numbers:?}");
        }
    }
}

#[tokio::test]
async fn a_moved_leader_is_found_and_nothing_is_sent_twice() {
    let (mock, bootstrap) = mock();
    let one = ProducerOptions { partition: Some(0), ..options(Compression::None) };
    let mut producer = Producer::open(client(&bootstrap).await, "t", one).await.unwrap();
    for round in 0..6 {
        mock.partition_leader("t", 0, Some(1 + round % 3)).unwrap();
        producer.append(Timestamp(1), None, round.to_string().as_bytes());
        assert_eq!(producer.flush().await.unwrap(), 1);
    }
    assert_eq!(read_all(&bootstrap).await[&0], ["0", "1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn members_share_partitions_and_commits_survive_them() {
    let (_mock, bootstrap) = mock();
    let mut first = client(&bootstrap).await;
    first.refresh(Some(&["t".to_owned()]), false).await.unwrap();
    let member = GroupMember::join(&mut first, "g", "t").await.unwrap();
    assert_eq!(member.assigned, [0, 1, 2, 3]);
    assert!(!member.must_rejoin());
    assert!(member.committed(&mut first).await.unwrap().is_empty());
    member.commit(&mut first, &BTreeMap::from([(0, 5), (3, 9)])).await.unwrap();
    let committed = committed(&mut first, "g", Some(("t", &[3]))).await.unwrap();
    assert_eq!(committed[&("t".to_owned(), 3)], 9);
}

#[tokio::test]
async fn failures_say_what_to_do() {
    let nobody = ["127.0.0.1:1".to_owned()];
    let Err(failure) = Client::connect(&nobody, Duration::from_secs(5)).await else {
        panic!("nobody listens on port 1")
    };
    assert!(failure.to_string().contains("127.0.0.1:1"), "{failure}");
    assert!(failure.hint().contains("jackdaw serve"));
    let (_mock, bootstrap) = mock();
    let one = ProducerOptions { partition: Some(17), ..options(Compression::None) };
    let Err(failure) = Producer::open(client(&bootstrap).await, "t", one).await else {
        panic!("there is no partition 17")
    };
    assert_eq!(failure.code(), Some(ErrorCode::UnknownTopicOrPartition));
    assert!(failure.to_string().contains("partitions 0 to 3"), "{failure}");
}
