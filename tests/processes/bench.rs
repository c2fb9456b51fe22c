//! `jackdaw bench` as users run it, against real nodes.

use std::process::{Command, Output, Stdio};
use std::thread;

use jackdaw_chaos::cluster::{Cluster, busiest_leader};
use jackdaw_chaos::workload::create_topic;
use serde_json::Value;

use super::support::{PATIENCE, binary, cluster, consumer, watermarks};

fn command(cluster: &Cluster, arguments: &str) -> Command {
    let bootstrap = cluster.bootstrap();
    let mut command = Command::new(binary());
    command.arg("bench").args(arguments.split_whitespace()).args(["--bootstrap", &bootstrap]);
    command
}

fn bench(cluster: &Cluster, arguments: &str) -> (Output, Value) {
    let output = command(cluster, &format!("{arguments} --json")).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output, report)
}

fn works(cluster: &Cluster, arguments: &str) -> Value {
    let (output, report) = bench(cluster, arguments);
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    report
}

#[test]
fn what_is_produced_is_what_is_counted_and_what_is_consumed() {
    let cluster = cluster(1);
    let mut sent = 0;
    for how in [
        "--idempotent --records 5000 --partitions 3",
        "--records 3000 --connections 4 --compression lz4 --acks 1",
        "--records 2000 --connections 3 --rate 4000 --linger 1 --record-size 100 --warmup 0.2",
        "--records 500 --batch-size 1 --compression zstd --in-flight 1",
    ] {
        let told = works(&cluster, &format!("produce load {how}"));
        assert_eq!(told["partitions"], 3, "{how}");
        assert_eq!(told["records"], told["latency_us"]["count"], "{how}");
        assert!(told["latency_us"]["p99"].as_u64().unwrap() > 0, "{told}");
        assert!(told["bytes_per_s"].as_f64().unwrap() > 0.0, "{told}");
        assert_eq!((&told["records_failed"], &told["records_uncertain"]), (&0.into(), &0.into()));
        sent += told["records"].as_i64().unwrap();
    }
    assert_eq!(sent, 10_500);
    let reader = consumer(&cluster.bootstrap(), "bench", &[]);
    let ends: i64 = (0..3).map(|index| watermarks(&reader, "load", index).1).sum();
    // And the records of a warm-up.
    assert!((sent..sent + 2_000).contains(&ends), "{ends} records are there");

    let told = works(&cluster, "consume load --check-crc");
    assert_eq!(told["records"], ends);
    assert!(told["first_byte_us"].as_u64().unwrap() > 0, "{told}");
    let told = works(&cluster, "consume load --connections 3");
    assert_eq!(told["records"], 3 * ends);
    let told = works(&cluster, "consume load --records 1000");
    assert!(told["records"].as_i64().unwrap() >= 1000);

    let told = works(&cluster, "e2e load --rate 500 --seconds 1 --record-size 16");
    assert_eq!((&told["records"], &told["records_read"]), (&500.into(), &500.into()));
    let p50 = |of: &str| told[of]["p50"].as_u64().unwrap();
    assert!(p50("end_to_end_latency_us") > 0 && p50("produce_latency_us") > 0, "{told}");
}

#[test]
fn a_table_is_for_people_and_a_failed_record_for_the_exit_code() {
    let cluster = cluster(1);
    let produce = "produce load --partitions 1 --records 100 --record-size";
    let output = command(&cluster, &format!("{produce} 10")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("p99.9"), "{text}");
    assert!(text.contains("100 records") && text.contains("failed"), "{text}");
    // More than a topic takes.
    let (output, told) = bench(&cluster, &format!("{produce} 3MB"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(told["records_failed"], 100);
    assert_eq!(told["records_failed_by_error"]["MESSAGE_TOO_LARGE"], 100, "{told}");
    let (output, _) = bench(&cluster, "produce absent --records 1");
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && complaint.contains("topic create"), "{complaint}");
}

#[test]
fn the_gap_of_a_killed_leader_is_told_and_nothing_is_lost() {
    let mut cluster = cluster(3);
    create_topic(&cluster.bootstrap(), "orders", 6, 3).unwrap();
    let partitions = cluster.wait_led("orders", PATIENCE).unwrap();
    let node = busiest_leader(&partitions).unwrap();
    let killed: Vec<i32> = (partitions.iter().filter(|one| one.leader == Some(node)))
        .map(|one| one.partition)
        .collect();
    let mut run = command(&cluster, "failover orders --interval 10 --seconds 8 --json");
    let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let output = thread::spawn(move || run.wait_with_output().unwrap());
    // Once it is under way.
    let view = cluster.wait_view("records arrive", PATIENCE, |view| {
        let mut replicas = view.replicas.iter().filter(|one| one.topic == "orders");
        replicas.any(|one| one.high_watermark > 20)
    });
    view.unwrap();
    cluster.node_mut(node).kill().unwrap();
    let output = output.join().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let gaps = told["partitions"].as_array().unwrap();
    let gap = |index: i32| gaps[index as usize]["longest_gap_ms"].as_f64().unwrap();
    assert!(killed.iter().all(|index| gap(*index) >= 10.0), "{told}");
    assert!(gaps.iter().all(|one| one["gap_ended"] == true), "{told}");
    let max = told["longest_gap_ms"]["max"].as_f64().unwrap();
    assert_eq!(max, (0..6).map(gap).fold(0.0, f64::max));

    // Each record once: what was acknowledged is what is there.
    let reader = consumer(&cluster.bootstrap(), "bench", &[]);
    let there: i64 = (0..6).map(|index| watermarks(&reader, "orders", index).1).sum();
    assert_eq!(told["records"], there);
    assert_eq!(told["records_uncertain"], 0);
}
