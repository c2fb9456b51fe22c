//! The port over the metadata group of one real node.

use std::time::Duration;

use jackdaw_raft::NodeId;
use jackdaw_raft::testing::{MemLog, MemMachine};
use kafka_wire::metadata_request::MetadataRequestTopic;
use kafka_wire::{InitProducerIdRequest, MetadataRequest, MetadataResponse};
use tempfile::TempDir;

use super::super::fake_port::registration;
use super::super::farewell::Farewells;
use super::super::{BrokerInfo, MetadataContext, init_producer_id, metadata, wire};
use super::*;
use crate::metadata::tests::node::TestNode;
use crate::metadata::{ConfigOp, ConfigTarget, partition_group};

const TIMEOUT: Duration = Duration::from_secs(30);

fn context(node: &TestNode) -> MetadataContext {
    let broker = BrokerInfo {
        registration: registration(1),
        cluster_id: "c".into(),
        auto_create_topics: true,
        static_configs: Default::default(),
    };
    MetadataContext::new(Arc::new(node.metadata.clone()), broker)
}

async fn ask(context: &MetadataContext, name: &str) -> MetadataResponse {
    let mut topic = MetadataRequestTopic::default();
    topic.name = Some(wire::text(name));
    let mut request = MetadataRequest::default();
    request.topics = Some(vec![topic]);
    metadata::handle(context, Farewells::default().begin(), 12, request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_comes_to_be_is_led_changed_and_deleted() {
    let dir = TempDir::new().unwrap();
    let node = TestNode::alone(dir.path()).await;
    let context = context(&node);
    let port = &context.port;
    // Nobody opens the partitions' groups here: created, but not led.
    let response = ask(&context, "new").await;
    assert_eq!((response.brokers.len(), response.controller_id), (1, 1));
    let topic = &response.topics[0];
    assert_eq!((topic.error_code, topic.partitions[0].error_code), (0, 5));

    let id = wire::topic_id(topic.topic_id);
    let group = partition_group(id, PartitionIndex(0));
    let (log, machine) = (Arc::new(MemLog::default()), Arc::new(MemMachine::default()));
    let open = node.raft.open_group(group, log, machine, None).await.unwrap();
    let mut leadership = port.leadership();
    open.initialize(BTreeSet::from([NodeId(1)])).await.unwrap();
    while port.leader_of(id, PartitionIndex(0)).is_none() {
        leadership.changed().await.unwrap();
    }
    let response = ask(&context, "new").await;
    let led = &response.topics[0].partitions[0];
    assert_eq!((led.error_code, led.leader_id, &led.isr_nodes), (0, 1, &vec![1]));
    assert!(led.leader_epoch > 0);

    let has = port.image().topic("new").unwrap().partitions.len();
    let count = i32::try_from(has).unwrap() + 1;
    let more = CreatePartitions { topic: "new".into(), count, assignments: None };
    let grown = port.create_partitions(vec![more], false, TIMEOUT).await.unwrap();
    assert_eq!(grown, [Ok(())]);
    assert_eq!(port.image().topic("new").unwrap().partitions.len(), has + 1);
    let ops = [("retention.ms".to_owned(), ConfigOp::Set("5".into()))].into();
    let alter = AlterConfigs { target: ConfigTarget::Topic("new".into()), ops };
    port.alter_configs(vec![alter], false, TIMEOUT).await.unwrap().remove(0).unwrap();
    assert_eq!(port.image().topic("new").unwrap().configs["retention.ms"], "5");
    let gone = port.delete_topics(vec![TopicSelector::Id(id)], TIMEOUT).await.unwrap();
    assert_eq!((gone, port.image().topic("new").is_none()), (vec![Ok(())], true));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producer_ids_are_never_given_twice() {
    let dir = TempDir::new().unwrap();
    let node = TestNode::alone(dir.path()).await;
    let context = context(&node);
    for expected in 0..1_500 {
        let mut body = InitProducerIdRequest::default();
        body.transactional_id = None;
        let response = init_producer_id::handle(&context, body).await;
        assert_eq!((response.error_code, response.producer_id), (0, expected));
    }
    node.stop().await;
}
