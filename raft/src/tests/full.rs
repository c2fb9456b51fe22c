//! Votes for which the disk has no room.

use super::cluster::*;
use crate::*;

/// Waits until one of these has found no room, and again.
async fn refused(homes: &[&Home]) {
    let stands = async {
        while homes.iter().all(|home| home.hard.refused() < 2) {
            tokio::task::yield_now().await;
        }
    };
    within("a vote that finds no room", stands).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vote_waits_for_room_and_is_given_once_there_is_some() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    propose_all(&cluster.groups[leader], 0..10).await;
    let others: Vec<usize> = (0..3).filter(|at| *at != leader).collect();
    let votes = |cluster: &Cluster| {
        others
            .iter()
            .map(|at| cluster.homes[*at].hard.load(GROUP).unwrap().vote)
            .collect::<Vec<_>>()
    };
    let before = votes(&cluster);
    others.iter().for_each(|at| cluster.homes[*at].hard.set_full(true));
    cluster.nodes[leader].shutdown().await;
    let full: Vec<_> = others.iter().map(|at| &cluster.homes[*at]).collect();
    refused(&full).await;
    assert_eq!(votes(&cluster), before, "nothing was promised");
    let leads = |at: &usize| cluster.groups[*at].status().borrow().is_leader;
    assert!(!others.iter().any(leads));

    others.iter().for_each(|at| cluster.homes[*at].hard.set_full(false));
    cluster.groups.remove(leader);
    cluster.nodes.remove(leader);
    let leader = cluster.leader().await;
    propose_all(&cluster.groups[leader], 10..20).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_whose_vote_waits_can_be_closed() {
    let mut home = homes(1).remove(0);
    let peers = addresses(std::slice::from_ref(&home));
    home.hard.set_full(true);
    let node = home.start(peers.clone()).await;
    let group = home.open(&node).await;
    group.initialize(peers.into_keys().collect()).await.unwrap();
    refused(&[&home]).await;
    within("the group is closed", node.close_group(GROUP)).await.unwrap();
    assert_eq!(home.hard.load(GROUP).unwrap().vote, None, "nothing was promised");
    node.shutdown().await;
}
