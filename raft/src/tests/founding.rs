//! New groups whose members are in their logs when they are opened.

use std::collections::BTreeSet;

use futures_util::FutureExt;

use super::cluster::{GROUP, addresses, homes, until, within};
use crate::*;

#[tokio::test]
async fn the_preferred_voter_of_a_founded_group_leads_its_first_term() {
    let mut homes = homes(3);
    homes.iter_mut().for_each(|home| home.preferred = Some(NodeId(2)));
    let peers = addresses(&homes);
    let voters: BTreeSet<_> = peers.keys().copied().collect();
    let (mut nodes, mut groups) = (Vec::new(), Vec::new());
    for home in &mut homes {
        nodes.push(home.start(peers.clone()).await);
    }
    for (home, node) in homes.iter().zip(&nodes) {
        let mut peers = node.peers();
        let connected = peers.wait_for(|peers| peers.values().all(|peer| peer.connected));
        drop(within("connected peers", connected).await.unwrap());
        node.found_group(GROUP, &*home.log, voters.clone()).await.unwrap();
        groups.push(home.open(node).await);
    }
    for group in &groups {
        until(group, "a leader", |status| status.leader.is_some()).await;
        let status = group.status().borrow();
        assert_eq!((status.leader, status.term), (Some(NodeId(2)), 1), "no term was lost");
        assert_eq!(*status.voters, voters);
        group.initialize(voters.clone()).await.unwrap();
    }
    for (home, node) in homes.iter().zip(&nodes) {
        let before = home.log.entries().len();
        node.found_group(GROUP, &*home.log, voters.clone()).await.unwrap();
        assert_eq!(home.log.entries().len(), before, "it is founded once");
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_group_is_founded_when_that_is_on_the_disk() {
    let mut homes = homes(1);
    let peers = addresses(&homes);
    let node = homes[0].start(peers.clone()).await;
    let log = &homes[0].log;
    log.hold_flushes(true);
    let mut founding = Box::pin(node.found_group(GROUP, &**log, peers.keys().copied().collect()));
    assert!(founding.as_mut().now_or_never().is_none(), "founded before it is on the disk");
    log.hold_flushes(false);
    founding.await.unwrap();
    assert_eq!(log.entries().len(), 1);
    node.shutdown().await;
}

#[tokio::test]
async fn who_has_voted_and_lost_its_log_founds_nothing() {
    let mut homes = homes(1);
    let peers = addresses(&homes);
    let node = homes[0].start(peers.clone()).await;
    let voters: BTreeSet<_> = peers.keys().copied().collect();
    let vote = Vote { term: 3, node: node.id(), committed: false };
    homes[0].hard.save_vote(GROUP, vote).await.unwrap();
    node.found_group(GROUP, &*homes[0].log, voters).await.unwrap();
    assert!(homes[0].log.entries().is_empty(), "it would vote again");
    let others = [NodeId(7)].into();
    let refused = node.found_group(GROUP, &*homes[0].log, others).await;
    assert!(matches!(refused, Err(RaftError::NotAVoter(_))), "{refused:?}");
    node.shutdown().await;
}
