//! What Metadata answers.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use kafka_wire_core::StrBytes;

use super::super::fake_port::{FakePort, cluster, sent, unavailable};
use super::super::farewell::Farewells;
use super::super::metadata_port::MetadataPort;
use super::*;
use crate::metadata::Presence;
use crate::model::TopicId;

fn by_names(names: &[&str]) -> MetadataRequest {
    let topic = |name: &&str| {
        let mut topic = MetadataRequestTopic::default();
        topic.name = Some(StrBytes::from(*name));
        topic
    };
    let mut request = MetadataRequest::default();
    request.topics = Some(names.iter().map(topic).collect());
    request
}

fn by_ids(ids: &[TopicId]) -> MetadataRequest {
    let mut request = by_names(&vec!["ignored"; ids.len()]);
    for (topic, id) in request.topics.iter_mut().flatten().zip(ids) {
        topic.topic_id = wire::uuid(*id);
        topic.name = None;
    }
    request
}

async fn ask(context: &MetadataContext, version: i16, body: MetadataRequest) -> MetadataResponse {
    let body = sent(&body, version);
    sent(&handle(context, Farewells::default().begin(), version, body).await, version)
}

fn rows(response: &MetadataResponse) -> Vec<(&str, i16)> {
    let row = |t: &'_ MetadataResponseTopic| t.error_code;
    let names = response.topics.iter().map(|t| t.name.as_deref().unwrap_or("-"));
    names.zip(response.topics.iter().map(row)).collect()
}

#[tokio::test]
async fn null_is_all_and_empty_is_none_from_version_1() {
    let port = cluster(3);
    port.topic("b", 1, 3).await;
    port.topic("a", 2, 3).await;
    let context = port.context();
    for version in 0..=13 {
        let empty = ask(&context, version, by_names(&[])).await;
        let all = if version == 0 {
            empty
        } else {
            assert!(empty.topics.is_empty());
            let mut request = MetadataRequest::default();
            request.topics = None;
            ask(&context, version, request).await
        };
        assert_eq!(rows(&all), [("a", 0), ("b", 0)], "version {version}");
        let ids: Vec<i32> = all.brokers.iter().map(|broker| broker.node_id).collect();
        assert_eq!(ids, [1, 2, 3]);
        assert_eq!(all.controller_id, if version >= 1 { 1 } else { -1 });
        assert_eq!(all.cluster_id.as_deref(), (version >= 2).then_some("cluster-1"));
        assert_eq!(all.brokers[1].rack.as_deref(), (version >= 1).then_some("r2"));
        let topic = &all.topics[0];
        assert_eq!(topic.topic_id == Uuid::ZERO, version < 10);
        assert_eq!(topic.partitions.len(), 2);
        assert!(!topic.is_internal);
        assert_eq!(topic.topic_authorized_operations, i32::MIN);
        assert_eq!(topic.partitions[0].leader_epoch, if version >= 7 { 1 } else { -1 });
        assert_eq!(topic.partitions[0].isr_nodes, topic.partitions[0].replica_nodes);
    }
}

#[tokio::test]
async fn dead_brokers_are_neither_listed_nor_leaders() {
    let port = cluster(3);
    let id = port.topic("t", 1, 3).await;
    port.elect(id, 0, 2, 7);
    port.alive.lock().unwrap().remove(&BrokerId(2));
    *port.controller.lock().unwrap() = Some(BrokerId(2));
    let context = port.context();
    for version in 0..=13 {
        let response = ask(&context, version, by_names(&["t"])).await;
        let ids: Vec<i32> = response.brokers.iter().map(|broker| broker.node_id).collect();
        assert_eq!(ids, [1, 3]);
        assert_eq!(response.controller_id, if version >= 1 { 1 } else { -1 });
        assert_eq!(response.topics[0].error_code, 0);
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_id), (5, -1));
        assert_eq!(partition.leader_epoch, if version >= 7 { 7 } else { -1 });
        assert_eq!(partition.isr_nodes.len(), 2);
        assert_eq!(partition.replica_nodes.len(), if version == 0 { 2 } else { 3 });
        let offline: &[i32] = if version >= 5 { &[2] } else { &[] };
        assert_eq!(partition.offline_replicas, offline);
    }
    // With a living leader only version 0 minds the dead replica.
    port.elect(id, 0, 3, 8);
    for version in [0, 1] {
        let response = ask(&context, version, by_names(&["t"])).await;
        let partition = &response.topics[0].partitions[0];
        assert_eq!(partition.error_code, if version == 0 { 9 } else { 0 });
        assert_eq!(partition.leader_id, 3);
    }
}

#[tokio::test]
async fn brokers_that_peers_hear_are_told_of_and_lead() {
    let port = cluster(3);
    let (known, newer) = (port.topic("known", 1, 3).await, port.topic("newer", 1, 3).await);
    let here = port.topic("here", 1, 3).await;
    port.elect(known, 0, 2, 7);
    port.elect(newer, 0, 2, 7);
    port.elect(here, 0, 1, 7);
    port.alive.lock().unwrap().retain(|id| *id == BrokerId(1));
    *port.controller.lock().unwrap() = Some(BrokerId(1));
    let context = port.context();
    let names = by_names(&["known", "newer", "here"]);
    let led = async || {
        let response = ask(&context, 13, names.clone()).await;
        let leaders = response.topics.iter().map(|topic| {
            let partition = &topic.partitions[0];
            (partition.leader_id, partition.leader_epoch)
        });
        let brokers = response.brokers.iter().map(|broker| broker.node_id).collect::<Vec<_>>();
        (leaders.collect::<Vec<_>>(), brokers, response.controller_id)
    };
    assert_eq!(led().await, (vec![(-1, 7), (-1, 7), (1, 7)], vec![1], 1));

    // What is told of brokers that nobody hears counts for nothing.
    let told = Leaders::from([((newer, PartitionIndex(0)), (BrokerId(3), LeaderEpoch(9)))]);
    *port.told_leaders.lock().unwrap() = told;
    assert_eq!(led().await.0, [(-1, 7), (-1, 7), (1, 7)]);
    let there = BTreeSet::from([BrokerId(2)]);
    *port.hearsay.lock().unwrap() = Hearsay { there, controller: Some(BrokerId(2)) };
    assert_eq!(led().await, (vec![(2, 7), (2, 7), (1, 7)], vec![1, 2], 2));
    let there = BTreeSet::from([BrokerId(3)]);
    *port.hearsay.lock().unwrap() = Hearsay { there, controller: None };
    assert_eq!(led().await, (vec![(-1, 7), (3, 9), (1, 7)], vec![1, 3], 1));

    // Who does not hear the leader is not in sync with it, but is no less there.
    let response = ask(&context, 13, names.clone()).await;
    let in_sync = |topic: &MetadataResponseTopic| {
        topic.partitions[0].isr_nodes.iter().copied().collect::<BTreeSet<_>>()
    };
    let [_, newer, here] = &response.topics[..] else { panic!("{response:?}") };
    assert_eq!((in_sync(here), in_sync(newer)), ([1].into(), [1, 3].into()));
    assert_eq!(here.partitions[0].offline_replicas, [2]);
}

#[tokio::test]
async fn a_replica_that_is_being_refilled_is_not_in_sync() {
    let port = cluster(3);
    let id = port.topic("t", 2, 3).await;
    port.refilling.lock().unwrap().insert((id, PartitionIndex(1), BrokerId(2)));
    let response = ask(&port.context(), 13, by_names(&["t"])).await;
    let partitions = &response.topics[0].partitions;
    assert_eq!(partitions[0].isr_nodes.len(), 3);
    assert!(!partitions[1].isr_nodes.contains(&2) && partitions[1].isr_nodes.len() == 2);
    assert_eq!(
        (partitions[1].replica_nodes.len(), &partitions[1].offline_replicas[..]),
        (3, &[][..])
    );
}

#[tokio::test]
async fn this_broker_is_always_there() {
    let port = cluster(0);
    let response = ask(&port.context(), 9, by_names(&[])).await;
    assert_eq!(response.brokers.len(), 1);
    assert_eq!((response.brokers[0].node_id, response.brokers[0].port), (1, 9092));
}

#[tokio::test]
async fn topics_go_by_id_from_version_12() {
    let port = cluster(1);
    let id = port.topic("t", 1, 1).await;
    let context = port.context();
    for version in 12..=13 {
        let unknown = TopicId(77);
        let mut request = by_ids(&[id, unknown, id]);
        request.topics.as_mut().unwrap().push(by_names(&["by-name"]).topics.unwrap().remove(0));
        let response = ask(&context, version, request).await;
        assert_eq!(rows(&response), [("t", 0), ("-", 100)]);
        assert_eq!(response.topics[0].topic_id, wire::uuid(id));
        assert_eq!(response.topics[1].topic_id, wire::uuid(unknown));
    }
    let mut request = by_names(&["t", "u"]);
    request.topics.as_mut().unwrap()[1].topic_id = wire::uuid(id);
    for version in 10..=11 {
        let response = ask(&context, version, request.clone()).await;
        assert_eq!(rows(&response), [("t", 42), ("u", 42)]);
    }
}

#[tokio::test]
async fn missing_topics_are_created_where_both_sides_allow_it() {
    let port = cluster(1);
    let context = port.context();
    let mut unwanted = by_names(&["t", "../t"]);
    unwanted.allow_auto_topic_creation = false;
    for version in 4..=13 {
        let response = ask(&context, version, unwanted.clone()).await;
        assert_eq!(rows(&response), [("t", 3), ("../t", 17)]);
    }
    let mut context = port.context();
    context.broker.auto_create_topics = false;
    assert_eq!(rows(&ask(&context, 1, by_names(&["t"])).await), [("t", 3)]);
    assert_eq!(port.calls.load(SeqCst), 0);

    let context = port.context();
    for version in 0..=13 {
        let name = format!("t{version}");
        let names = ["bad name", &name, "__consumer_offsets", &name];
        let response = ask(&context, version, by_names(&names)).await;
        assert_eq!(rows(&response), [("bad name", 17), (&name, 0), ("__consumer_offsets", 3)]);
        // The defaults, and led at once.
        let partitions = &response.topics[1].partitions;
        assert_eq!(partitions.len(), 3);
        assert!(partitions.iter().all(|partition| partition.leader_id == 1));
    }
    assert_eq!(port.calls.load(SeqCst), 14, "one creation per name");
}

#[tokio::test]
async fn a_creation_that_takes_long_goes_on_without_its_client() {
    let port = cluster(1);
    port.held.send_replace(true);
    let mut context = port.context();
    context.creations.grace = Duration::from_millis(5);
    for _ in 0..3 {
        let response = ask(&context, 9, by_names(&["slow"])).await;
        assert_eq!(rows(&response), [("slow", 5)]);
        assert!(response.topics[0].partitions.is_empty());
    }
    assert_eq!(port.calls.load(SeqCst), 1, "one creation, however many ask");
    let mut images = port.watch();
    port.held.send_replace(false);
    images.wait_for(|image| image.topic("slow").is_some()).await.unwrap();
    assert_eq!(rows(&ask(&context, 9, by_names(&["slow"])).await), [("slow", 0)]);
}

#[tokio::test]
async fn a_created_topic_without_leaders_says_so_by_partition() {
    let port = cluster(1);
    *port.elects.lock().unwrap() = false;
    let mut context = port.context();
    context.creations.grace = Duration::from_millis(5);
    let response = ask(&context, 9, by_names(&["t"])).await;
    assert_eq!(rows(&response), [("t", 0)]);
    assert!(response.topics[0].partitions.iter().all(|p| (p.error_code, p.leader_id) == (5, -1)));
}

#[tokio::test]
async fn creations_that_are_refused_or_fail_are_told() {
    let port = cluster(1);
    port.topic("a.b", 1, 1).await;
    let context = port.context();
    assert_eq!(rows(&ask(&context, 9, by_names(&["a_b"])).await), [("a_b", 17)]);
    *port.failure.lock().unwrap() = Some(unavailable);
    let mut context = port.context();
    context.creations.grace = Duration::from_millis(5);
    assert_eq!(rows(&ask(&context, 9, by_names(&["new"])).await), [("new", 5)]);
    // Free to be tried again.
    *port.failure.lock().unwrap() = None;
    context.creations.grace = Duration::from_secs(5);
    assert_eq!(rows(&ask(&context, 9, by_names(&["new"])).await), [("new", 0)]);
}

#[tokio::test]
async fn the_requests_of_many_clients_make_one_topic() {
    let port: Arc<FakePort> = cluster(1);
    let context = Arc::new(port.context());
    let one = |_| {
        let context = context.clone();
        tokio::spawn(async move { ask(&context, 9, by_names(&["t"])).await })
    };
    let all: Vec<_> = (0..50).map(one).collect();
    for response in all {
        assert_eq!(rows(&response.await.unwrap()), [("t", 0)]);
    }
    assert_eq!(port.image().topics_by_id.len(), 1);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// Whoever lives and whoever led: each leader named is listed, and each partition without one
    /// says so.
    #[test]
    fn named_leaders_are_listed(
        dead in proptest::collection::btree_set(1..6_i32, 0..5),
        leaders in proptest::collection::vec((0..4_i32, 1..8_i32), 0..6),
        version in 0..=13_i16,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let port = cluster(5);
            *port.elects.lock().unwrap() = false;
            let id = port.topic("t", 4, 3).await;
            for (partition, leader) in &leaders {
                port.elect(id, *partition, *leader, 3);
            }
            port.alive.lock().unwrap().retain(|id| *id == BrokerId(1) || !dead.contains(&id.0));
            let response = ask(&port.context(), version, by_names(&["t", "t"])).await;
            assert_eq!(response.topics.len(), 1);
            let listed: Vec<i32> = response.brokers.iter().map(|broker| broker.node_id).collect();
            assert!(listed.contains(&1) && listed.is_sorted());
            for partition in &response.topics[0].partitions {
                assert_eq!(partition.leader_id == -1, partition.error_code == 5);
                assert!(partition.leader_id == -1 || listed.contains(&partition.leader_id));
                assert!(partition.isr_nodes.iter().all(|id| listed.contains(id)));
                assert!(partition.offline_replicas.iter().all(|id| !listed.contains(id)));
            }
        });
    }
}

#[tokio::test]
async fn an_election_under_way_is_waited_for_and_no_other() {
    let port = cluster(3);
    *port.elects.lock().unwrap() = false;
    let topic = port.topic("t", 2, 3).await;
    port.elect(topic, 0, 2, 1);
    let context = port.context();
    let leaders = |response: &MetadataResponse| {
        response.topics[0].partitions.iter().map(|p| p.leader_id).collect::<Vec<_>>()
    };
    let answer = ask(&context, 12, by_names(&["t"])).await;
    assert_eq!(leaders(&answer), [2, -1]);
    port.unsettled.store(true, SeqCst);
    let electing = async {
        tokio::task::yield_now().await;
        port.elect(topic, 1, 3, 1);
    };
    let (answer, ()) = tokio::join!(ask(&context, 12, by_names(&["t"])), electing);
    assert_eq!(leaders(&answer), [2, 3]);
    port.leaders.lock().unwrap().remove(&(topic, PartitionIndex(1)));
    // Without a majority it may take for ever.
    let asked = ask(&context, 12, by_names(&["t"]));
    let answer = tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap();
    assert_eq!(leaders(&answer), [2, -1]);
}

#[tokio::test]
async fn a_leader_that_has_just_died_is_not_named_and_listed_once_more() {
    let port = cluster(3);
    let topic = port.topic("t", 1, 3).await;
    port.elect(topic, 0, 2, 1);
    let (context, farewells) = (port.context(), Farewells::default());
    let ask = async || {
        let answer = handle(&context, farewells.begin(), 12, by_names(&["t"])).await;
        let listed: Vec<i32> = answer.brokers.iter().map(|broker| broker.node_id).collect();
        (answer.topics[0].partitions[0].leader_id, listed)
    };
    assert_eq!(ask().await, (2, vec![1, 2, 3]));
    // Nobody knows yet.
    port.dying.lock().unwrap().insert(BrokerId(2));
    assert_eq!(ask().await, (-1, vec![1, 2, 3]));
    port.elect(topic, 0, 3, 2);
    assert_eq!(ask().await, (3, vec![1, 3]));
    // Another connection was told nothing.
    let answer = handle(&context, Farewells::default().begin(), 12, by_names(&["t"])).await;
    assert_eq!(answer.brokers.len(), 3);
    port.alive.lock().unwrap().insert(BrokerId(2));
    assert_eq!(ask().await, (3, vec![1, 2, 3]));
    port.dying.lock().unwrap().insert(BrokerId(2));
    assert_eq!(ask().await, (3, vec![1, 2, 3]), "once for each death");
    assert_eq!(ask().await, (3, vec![1, 3]));
    // Nobody asks over this connection while it is back.
    port.alive.lock().unwrap().insert(BrokerId(2));
    port.dying.lock().unwrap().insert(BrokerId(2));
    assert_eq!(ask().await, (3, vec![1, 2, 3]), "once for each death, asked in between or not");
    assert_eq!(ask().await, (3, vec![1, 3]));
    port.presences.lock().unwrap().clear();
    let answer = handle(&context, Farewells::default().begin(), 12, by_names(&["t"])).await;
    assert_eq!(answer.brokers.len(), 2, "dead for long");
    // Whoever is silent may have requests open, however often one asks.
    port.presences.lock().unwrap().insert(BrokerId(2), Presence::Silent);
    assert_eq!(ask().await, (3, vec![1, 2, 3]));
    assert_eq!(ask().await, (3, vec![1, 2, 3]));
}

#[tokio::test]
async fn the_answer_that_is_sent_first_tells_of_the_dead_leader() {
    let port = cluster(3);
    let topic = port.topic("t", 1, 3).await;
    port.elect(topic, 0, 2, 1);
    port.dying.lock().unwrap().insert(BrokerId(2));
    let (context, farewells) = (port.context(), Farewells::default());
    let (first, second) = (farewells.begin(), farewells.begin());
    let ask = |farewell| handle(&context, farewell, 12, by_names(&["t"]));
    // The later one is looked at first.
    let (second, first) = tokio::join!(ask(second), ask(first));
    assert_eq!((first.brokers.len(), second.brokers.len()), (3, 2));
    // One that is never answered is not waited for.
    drop(farewells.begin());
    assert_eq!(ask(farewells.begin()).await.brokers.len(), 2);
}
