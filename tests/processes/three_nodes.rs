//! Three nodes: leaders and coordinators die, nothing acknowledged is lost.

use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use jackdaw_chaos::cluster::{Cluster, ClusterView, PartitionView, get};
use jackdaw_chaos::history::Recorder;
use jackdaw_chaos::run::{Report, RunOptions, Screen, kill_all, leader_kill, pause_leader};
use jackdaw_chaos::workload::{
    GroupConsumer, GroupOptions, begin_group, create_topic, read_committed,
};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::support::{
    PATIENCE, binary, cluster, consumer, options, poll_until, records, retry, send_all,
};

fn passes(run: fn(&RunOptions, &Screen) -> anyhow::Result<Report>) {
    let options = RunOptions {
        binary: binary(),
        folder: std::env::temp_dir(),
        keep: false,
        page: None,
        nodes: 3,
        rate_per_s: 600,
        seed: rand::random::<u32>().into(),
        rounds: 1,
        // Several clusters share two cores here; the bars themselves are `make demo`'s.
        slack: 5.0,
    };
    let report = run(&options, &Screen::new(true)).unwrap();
    println!("{report}");
    assert!(report.passed, "{report}");
}

#[test]
fn a_leader_dies_under_load() {
    passes(leader_kill);
}

#[test]
fn all_nodes_die_under_load() {
    passes(kill_all);
}

#[test]
fn a_leader_stands_still_under_load() {
    passes(pause_leader);
}

#[test]
fn the_status_names_leaders_and_high_watermarks() {
    let cluster = cluster(3);
    create_topic(&cluster.bootstrap(), "seen", 3, 3).unwrap();
    cluster.wait_led("seen", PATIENCE).unwrap();
    send_all(&cluster.bootstrap(), "seen", 1, &records(7), &[]);
    let admin: Vec<_> = cluster.nodes().iter().map(|node| node.ports.admin.to_string()).collect();
    let output = Command::new(binary())
        .args(["cluster", "status", "--json", "--bootstrap", &cluster.bootstrap(), "--admin"])
        .arg(admin.join(","))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let leader = cluster.view().unwrap().metadata.leader;
    assert_eq!(status["metadata_leader"].as_i64(), leader.map(i64::from));
    assert_eq!(status["nodes"].as_array().unwrap().len(), 3);
    let partitions = status["partitions"].as_array().unwrap();
    assert_eq!(partitions.len(), 3);
    let led = |one: &Value| one["leader"].as_i64().is_some_and(|id| (1..4).contains(&id));
    assert!(partitions.iter().all(led), "{status}");
    assert!(partitions.iter().all(|one| one["replicas"].as_array().unwrap().len() == 3));
    assert_eq!(partitions[1]["high_watermark"], 7);
}

/// A page of partitions as node `at` of the list knows them.
fn partitions(cluster: &Cluster, at: usize, query: &str) -> Value {
    let path = format!("/api/v1/partitions{query}");
    let answer = get(cluster.nodes()[at].ports.admin, &path, PATIENCE).unwrap();
    serde_json::from_str(&answer.body).unwrap()
}

fn unhealthy(cluster: &Cluster) -> Vec<String> {
    let admin: Vec<_> = cluster.nodes().iter().map(|node| node.ports.admin.to_string()).collect();
    let output = jackdaw(cluster, &["cluster", "status", "--admin", &admin.join(",")]);
    assert!(output.status.success(), "{output:?}");
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let said = |one: &Value| {
        format!("{}: {}: {}", one["state"].as_str().unwrap(), one["why"], one["repair"])
    };
    status["unhealthy"].as_array().unwrap().iter().map(said).collect()
}

#[test]
fn the_status_says_what_is_wrong_and_what_would_repair_it() {
    let mut cluster = cluster(3);
    create_topic(&cluster.bootstrap(), "ailing", 5, 3).unwrap();
    cluster.wait_led("ailing", PATIENCE).unwrap();
    wait_until(|| unhealthy(&cluster).is_empty());
    let first = partitions(&cluster, 0, "?limit=3");
    assert_eq!(first["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(first["next"], "ailing-2");
    let rest = partitions(&cluster, 0, "?limit=3&after=ailing-2");
    assert_eq!(rest["partitions"][0]["partition"], 3);
    assert_eq!((rest["partitions"].as_array().unwrap().len(), &rest["next"]), (2, &Value::Null));

    cluster.node_mut(3).kill().unwrap();
    let down = r#"under_replicated: "node 3 is down": "start node 3""#;
    wait_until(|| unhealthy(&cluster) == [down; 5]);
    let trouble = json!({ "node": 3, "trouble": "down", "absence": "ended" });
    wait_until(|| {
        let page = partitions(&cluster, 0, "?unhealthy=true");
        page["partitions"][4]["troubles"][0] == trouble
    });
    wait_until(|| {
        let has = |node: i32, line| cluster.node(node).has_metric(line);
        !has(1, "jackdaw_under_replicated_partitions 0")
            && has(1, "jackdaw_leaderless_partitions 0")
    });

    cluster.node_mut(2).kill().unwrap();
    let lost =
        r#"leaderless: "2 of 3 replicas are on nodes that are down (2, 3)": "start one of them""#;
    wait_until(|| unhealthy(&cluster) == [lost; 5]);
    cluster.node(1).wait_metric("jackdaw_leaderless_partitions 5", PATIENCE).unwrap();
    cluster.node(1).wait_metric(r#"jackdaw_peer_alive{peer="2"} 0"#, PATIENCE).unwrap();
}

fn jackdaw(cluster: &Cluster, arguments: &[&str]) -> Output {
    let bootstrap = cluster.bootstrap();
    let command = [arguments, &["--json", "--bootstrap", bootstrap.as_str()]].concat();
    Command::new(binary()).args(command).output().unwrap()
}

#[test]
fn leaders_go_back_to_the_preferred_replicas_when_asked_for() {
    // So long that nothing is given back by itself.
    let options = options(3).set("raft.settle_ms", "600000");
    let mut cluster = Cluster::start(&options, PATIENCE).unwrap();
    create_topic(&cluster.bootstrap(), "swung", 6, 3).unwrap();
    cluster.wait_led("swung", PATIENCE).unwrap();
    let moved = |view: &ClusterView, node: i32| {
        let preferred = |one: &&PartitionView| one.replicas[0] == node;
        let mut partitions = view.partitions("swung").iter().filter(preferred);
        partitions.all(|one| one.leader.is_some_and(|leader| leader != node))
    };
    let node = cluster.view().unwrap().partitions("swung")[0].replicas[0];
    cluster.node_mut(node).kill().unwrap();
    cluster.wait_view("its leaders are succeeded", PATIENCE, |view| moved(view, node)).unwrap();
    cluster.node_mut(node).start().unwrap();

    // The node that came back is not level at once: it is refused until it is.
    wait_until(|| jackdaw(&cluster, &["topic", "elect-leaders"]).status.success());
    let led = |view: &ClusterView| {
        let mut partitions = view.partitions("swung").iter();
        partitions.all(|one| one.leader == Some(one.replicas[0]))
    };
    cluster.wait_view("the preferred replicas lead", PATIENCE, led).unwrap();
    let again = jackdaw(&cluster, &["topic", "elect-leaders", "swung", "--partition", "2"]);
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(again[0]["error"], "ELECTION_NOT_NEEDED");
    let unknown = jackdaw(&cluster, &["topic", "elect-leaders", "swung", "--partition", "6"]);
    assert!(!unknown.status.success(), "{unknown:?}");
}

#[test]
fn a_second_member_takes_over() {
    let cluster = cluster(3);
    let bootstrap = cluster.bootstrap();
    create_topic(&bootstrap, "shared", 3, 3).unwrap();
    for partition in 0..3 {
        send_all(&bootstrap, "shared", partition, &records(100), &[]);
    }
    let recorder = recorder(&cluster);
    begin_group(&bootstrap, "shared", "sharers", &[0, 1, 2], PATIENCE).unwrap();
    let member = |name: &str| {
        let options = GroupOptions {
            bootstrap: bootstrap.clone(),
            topic: "shared".into(),
            group: "sharers".into(),
            name: name.into(),
            commit_interval: Duration::from_millis(50),
            settings: Vec::new(),
        };
        GroupConsumer::start(options, recorder.clone()).unwrap()
    };
    let first = member("first");
    wait_until(|| first.polled() == 300);
    first.wait_commits(1, PATIENCE).unwrap();
    wait_until(|| committed(&bootstrap, &recorder) == [100, 100, 100]);
    first.finish().unwrap();

    let second = member("second");
    for partition in 0..3 {
        send_all(&bootstrap, "shared", partition, &records(10), &[]);
    }
    wait_until(|| committed(&bootstrap, &recorder) == [110, 110, 110]);
    assert_eq!(second.polled(), 30, "it continues where the first had committed");
    second.finish().unwrap();
}

fn recorder(cluster: &Cluster) -> Arc<Recorder> {
    let path = cluster.folder().join("history.jsonl");
    Arc::new(Recorder::create(&path, "t", 0, "test").unwrap())
}

fn committed(bootstrap: &str, recorder: &Recorder) -> Vec<i64> {
    let found = read_committed(bootstrap, "shared", "sharers", &[0, 1, 2], recorder, PATIENCE);
    found.unwrap().into_values().collect()
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "this should have happened long ago");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn committed_offsets_survive_their_coordinator() {
    let mut cluster = cluster(3);
    let bootstrap = cluster.bootstrap();
    create_topic(&bootstrap, "events", 1, 3).unwrap();
    send_all(&bootstrap, "events", 0, &records(50), &[]);
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("events", 0, Offset::Offset(33)).unwrap();
    let first = consumer(&bootstrap, "workers", &[]);
    retry(|| first.commit(&offsets, CommitMode::Sync));

    // The metadata group's leader is every group's coordinator.
    let coordinator = cluster.view().unwrap().metadata.leader.unwrap();
    cluster.node_mut(coordinator).kill().unwrap();

    let second = consumer(&bootstrap, "workers", &[]);
    let read = retry(|| second.committed_offsets(offsets.clone(), Duration::from_secs(5)));
    assert_eq!(read.elements()[0].offset(), Offset::Offset(33));
    second.subscribe(&["events"]).unwrap();
    let rest = poll_until(&second, |read| read.len() == 17);
    assert_eq!(rest[0].0, 33);
}
