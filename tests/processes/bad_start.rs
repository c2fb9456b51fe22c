//! Starts that must fail: one sentence that says what to do, and an exit code that is not 0.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

use jackdaw_chaos::cluster::Cluster;
use tempfile::TempDir;

use super::support::{PATIENCE, binary, options};

/// Runs `jackdaw serve` in `folder`, which must end by itself and tell why.
fn refused(folder: &Path, arguments: &[&str], words: &[&str]) {
    // A node that starts after all must not hang the test.
    let seconds = PATIENCE.as_secs().to_string();
    let output: Output = Command::new("timeout")
        .args(["--signal=KILL", &seconds])
        .arg(binary())
        .arg("serve")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!matches!(output.status.code(), None | Some(0 | 101 | 137)), "{output:?}");
    assert!(!told.contains("panicked") && told.lines().count() <= 6, "{told}");
    for word in words {
        assert!(told.contains(word), "{word} is missing in: {told}");
    }
}

/// Arguments that take ports which nobody else has.
fn free_ports() -> Vec<String> {
    ["kafka", "peer", "admin"]
        .map(|socket| format!("--set=listeners.{socket}=127.0.0.1:0"))
        .to_vec()
}

#[test]
fn a_port_in_use_is_named() {
    let folder = TempDir::new().unwrap();
    for (socket, key) in [("kafka", "listeners.kafka"), ("admin", "listeners.admin")] {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = holder.local_addr().unwrap().to_string();
        let mut arguments = free_ports();
        arguments.push(format!("--set={key}={address}"));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        refused(folder.path(), &arguments, &[&address, "in use"]);
        drop((socket, holder));
    }
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new().unwrap();
    // A file in its place, because root may write into any folder.
    fs::write(folder.path().join("taken"), "not a folder").unwrap();
    let mut arguments = free_ports();
    arguments.push("--set=data_dir=taken/data".into());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    refused(folder.path(), &arguments, &["taken/data"]);
}

#[test]
fn a_typo_in_the_configuration_is_named() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("node.toml"), "listeners.kafak = \"127.0.0.1:0\"\n").unwrap();
    refused(folder.path(), &["--config", "node.toml"], &["kafak", "kafka"]);
    refused(folder.path(), &["--set", "node_di=2"], &["node_di", "node_id"]);
    refused(folder.path(), &["--config", "absent.toml"], &["absent.toml"]);
    refused(folder.path(), &["--set", "listeners.kafka=0.0.0.0:0"], &["insecure"]);
}

#[test]
fn a_data_folder_of_another_node_or_cluster_is_refused() {
    let mut cluster = Cluster::start(&options(1), PATIENCE).unwrap();
    cluster.stop_all(PATIENCE).unwrap();
    let home = cluster.folder().join("node1");
    let peer = cluster.node(1).ports.peer;
    let nodes = format!(r#"--set=nodes=[{{ id = 2, peer = "{peer}" }}]"#);
    let other_id = ["--config", "node.toml", "--set=node_id=2", &nodes];
    refused(&home, &other_id, &["data", "node"]);
    refused(&home, &["--config", "node.toml", "--set=cluster=other"], &["data", "cluster"]);
    // Neither attempt has harmed it.
    cluster.start_all().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
}

#[test]
fn a_data_folder_in_use_is_refused() {
    let cluster = Cluster::start(&options(1), PATIENCE).unwrap();
    let home = cluster.folder().join("node1");
    let mut arguments = vec!["--config".to_owned(), "node.toml".to_owned()];
    let peer = "127.0.0.1:7";
    arguments.extend(free_ports().into_iter().filter(|argument| !argument.contains("peer")));
    arguments.push(format!("--set=listeners.peer={peer}"));
    arguments.push(format!(r#"--set=nodes=[{{ id = 1, peer = "{peer}" }}]"#));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    refused(&home, &arguments, &["data"]);
}
