//! Nodes whose votes, or whose copy of the metadata, are damaged or gone.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use jackdaw_chaos::cluster::Cluster;

use super::support::{PATIENCE, options, read, records, send_all};

fn log(cluster: &Cluster, node: i32) -> String {
    fs::read_to_string(cluster.node(node).log_path()).unwrap()
}

#[test]
fn three_nodes_go_on_when_one_has_lost_its_votes() {
    let mut cluster = Cluster::start(&options(3), PATIENCE).unwrap();
    let sent = records(300);
    send_all(&cluster.bootstrap(), "kept", 0, &sent[..100], &[]);
    cluster.wait_caught_up("kept", PATIENCE).unwrap();

    // One copy: mended, and the node starts as always.
    let node = cluster.wait_led("kept", PATIENCE).unwrap()[0].leader.unwrap();
    cluster.node_mut(node).kill().unwrap();
    let votes = cluster.node(node).data_dir().join("votes");
    for name in ["first.0", "first.1"] {
        let file = OpenOptions::new().write(true).open(votes.join(name)).unwrap();
        file.write_all_at(&[0x5A; 64], 64).unwrap();
    }
    cluster.node_mut(node).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    assert!(log(&cluster, node).contains("are taken from the other copy"));
    assert!(!log(&cluster, node).contains("takes part again"));
    send_all(&cluster.bootstrap(), "kept", 0, &sent[100..200], &[]);

    // All of it, and the copy of the metadata too.
    cluster.node_mut(node).kill().unwrap();
    fs::remove_dir_all(&votes).unwrap();
    fs::remove_dir_all(cluster.node(node).data_dir().join("kv")).unwrap();
    cluster.node_mut(node).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    assert!(log(&cluster, node).contains("the votes of this node are gone"));
    assert!(log(&cluster, node).contains("takes part again"));
    send_all(&cluster.bootstrap(), "kept", 0, &sent[200..], &[]);
    let got = read(&cluster.bootstrap(), "kept", 0, &[]);
    assert!(got.into_iter().map(|(_, record)| record).eq(sent));
    cluster.wait_caught_up("kept", PATIENCE).unwrap();
    cluster.stop_and_compare("kept").unwrap();
}

#[test]
fn a_lone_node_goes_on_without_its_votes_and_after_a_killed_start() {
    let mut cluster = Cluster::start(&options(1), PATIENCE).unwrap();
    let sent = records(200);
    send_all(&cluster.bootstrap(), "kept", 0, &sent[..100], &[]);
    cluster.node_mut(1).kill().unwrap();
    let data_dir = cluster.node(1).data_dir();
    // As a start leaves it that is killed while sled writes a snapshot.
    fs::write(data_dir.join("kv/snap.00000000FFFFFFFF.generating"), b"").unwrap();
    fs::remove_dir_all(data_dir.join("votes")).unwrap();
    cluster.node_mut(1).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    assert!(log(&cluster, 1).contains("the votes of this node are gone"));
    send_all(&cluster.bootstrap(), "kept", 0, &sent[100..], &[]);

    cluster.node_mut(1).kill().unwrap();
    fs::remove_dir_all(data_dir.join("kv")).unwrap();
    cluster.node_mut(1).start().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    let got = read(&cluster.bootstrap(), "kept", 0, &[]);
    assert!(got.into_iter().map(|(_, record)| record).eq(sent));
    cluster.stop_and_compare("kept").unwrap();
}
