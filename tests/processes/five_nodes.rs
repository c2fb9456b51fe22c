//! Five nodes: replicas and leaders are spread evenly, and a dead node stops no partition.

use std::collections::BTreeMap;

use jackdaw_chaos::cluster::busiest_leader;
use jackdaw_chaos::workload::create_topic;

use super::support::{PATIENCE, cluster, read, records, send_all};

#[test]
fn partitions_spread_and_outlive_a_node() {
    let mut cluster = cluster(5);
    let bootstrap = cluster.bootstrap();
    create_topic(&bootstrap, "spread", 10, 3).unwrap();
    let partitions = cluster.wait_led("spread", PATIENCE).unwrap();

    let (mut held, mut preferred) = (BTreeMap::new(), BTreeMap::new());
    for partition in &partitions {
        let mut replicas = partition.replicas.clone();
        *preferred.entry(replicas[0]).or_insert(0) += 1;
        replicas.sort_unstable();
        replicas.dedup();
        assert_eq!(replicas.len(), 3, "{partition:?}");
        replicas.iter().for_each(|node| *held.entry(*node).or_insert(0) += 1);
    }
    assert_eq!(held, (1..=5).map(|node| (node, 6)).collect::<BTreeMap<_, _>>());
    assert_eq!(preferred, (1..=5).map(|node| (node, 2)).collect::<BTreeMap<_, _>>());

    let victim = busiest_leader(&partitions).unwrap();
    cluster.node_mut(victim).kill().unwrap();
    for partition in 0..10 {
        let offsets = send_all(&bootstrap, "spread", partition, &records(20), &[]);
        assert!(offsets.into_iter().eq(0..20));
    }
    cluster.start_all().unwrap();
    cluster.wait_ready(PATIENCE).unwrap();
    cluster.wait_caught_up("spread", PATIENCE).unwrap();
    assert_eq!(read(&bootstrap, "spread", 9, &[]).len(), 20);
    cluster.stop_and_compare("spread").unwrap();
}
