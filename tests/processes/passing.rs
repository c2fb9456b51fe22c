//! What kept a replica from being opened passes, and it is opened: nothing has to be restarted.

use std::time::Duration;

use jackdaw_chaos::workload::client_config;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

use super::few_descriptors::{LIMIT, limit_to, limited_node, open_files};
use super::support::{records, send_all};

#[test]
fn a_topic_made_without_a_descriptor_left_is_served_once_there_are_some() {
    let (_folder, cluster) = limited_node();
    let client: AdminClient<DefaultClientContext> =
        client_config(&cluster.bootstrap()).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let create = |name: &str| {
        let topics = [NewTopic::new(name, 1, TopicReplication::Fixed(1))];
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(1)));
        runtime.block_on(client.create_topics(&topics, &options)).unwrap().remove(0)
    };
    // The client is connected from here on.
    create("before").unwrap();
    limit_to(&cluster, open_files(&cluster).0 as u64);
    // Whether it is told so or only that it takes long: the topic is there.
    drop(create("late"));
    limit_to(&cluster, LIMIT);
    let offsets = send_all(&cluster.bootstrap(), "late", 0, &records(10), &[]);
    assert!(offsets.into_iter().eq(0..10));
}
