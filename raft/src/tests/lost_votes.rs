//! Replicas whose votes are gone: they take no part before they have heard from all others.

use super::cluster::*;
use super::refill::{LONG, Node, Nodes, leader, never_leads, stop, votes_again};
use crate::*;

impl Nodes {
    fn lose_votes(&mut self, at: usize) {
        self.homes[at].hard = Default::default();
    }
}

fn term(nodes: &Nodes, at: usize) -> u64 {
    nodes.hard(at).vote.map_or(0, |vote| vote.term)
}

/// Three nodes with the entries 0 to 19, and the leader's position.
async fn written() -> (Nodes, Vec<Node>, usize) {
    let mut nodes = Nodes::new(3);
    let all = nodes.start_all().await;
    let a = leader(&all.iter().collect::<Vec<_>>()).await;
    propose_all(&all[a].group, 0..20).await;
    applied_everywhere(&nodes.homes, &bytes(0..20)).await;
    (nodes, all, a)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_vote_elects_nobody() {
    let (mut nodes, all, a) = written().await;
    let (b, n) = ((a + 1) % 3, (a + 2) % 3);
    stop(all).await;
    nodes.lose_votes(n);

    // B alone cannot tell whom N has voted for: that may have been A.
    let (b_node, n_node) = (nodes.start(b).await, nodes.start(n).await);
    assert_eq!(*n_node.group.suffrage().borrow(), Suffrage::Unproven);
    let before = nodes.hard(n);
    assert!(before.unproven && before.vote.is_some_and(|vote| !vote.committed));
    never_leads(&b_node, "B leads by the vote of N").await;
    never_leads(&n_node, "N leads").await;
    assert_eq!(nodes.hard(n), before, "N has voted, or changed its term");

    let a_node = nodes.start(a).await;
    votes_again(&n_node).await;
    assert!(!nodes.hard(n).unproven);
    assert!(term(&nodes, n) >= term(&nodes, a).min(term(&nodes, b)));
    let ready = leader(&[&a_node, &b_node, &n_node]).await;
    let rest = [a_node, b_node, n_node];
    propose_all(&rest[ready].group, 20..40).await;
    applied_everywhere(&nodes.homes, &bytes(0..40)).await;
    stop(rest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_has_nothing_to_send_is_known_again() {
    let (mut nodes, all, a) = written().await;
    let n = (a + 1) % 3;
    all[n].raft.shutdown().await;
    nodes.lose_votes(n);
    let n_node = nodes.start(n).await;
    let lead = nodes.homes[a].id;
    until(&n_node.group, "the leader is known", |status| status.leader == Some(lead)).await;
    stop(all).await;
    stop([n_node]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_of_a_leader_that_was_voted_out_are_not_acknowledged() {
    let (mut nodes, all, a) = written().await;
    let (b, n) = ((a + 1) % 3, (a + 2) % 3);
    all[b].raft.shutdown().await;
    all[n].raft.shutdown().await;
    nodes.lose_votes(n);
    // A goes on as a leader that has not heard of B's election by N.
    let n_node = nodes.start(n).await;
    let proposed = all[a].group.propose(data(20..21)).await;
    let answers = proposed.into_iter().flatten().map(|answer| tokio::time::timeout(LONG, answer));
    for answer in futures_util::future::join_all(answers).await {
        assert!(!matches!(answer, Ok(Ok(Ok(_)))), "N acknowledges to A");
    }
    let b_node = nodes.start(b).await;
    votes_again(&n_node).await;
    let ready = leader(&[&all[a], &b_node, &n_node]).await;
    propose_all(&[&all[a], &b_node, &n_node][ready].group, 30..40).await;
    all[a].raft.shutdown().await;
    stop([b_node, n_node]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_may_lose_their_votes_and_one_its_log_too() {
    let (mut nodes, all, a) = written().await;
    stop(all).await;
    for at in 0..3 {
        nodes.lose_votes(at);
    }
    let n = (a + 1) % 3;
    nodes.homes[n].hard.save_unproven(GROUP, true).await.unwrap();
    nodes.lose_log(n);
    let all = nodes.start_all().await;
    for node in &all {
        votes_again(node).await;
    }
    let ready = leader(&all.iter().collect::<Vec<_>>()).await;
    propose_all(&all[ready].group, 20..30).await;
    applied_everywhere(&nodes.homes, &bytes(0..30)).await;
    stop(all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_it_goes_on_behind_the_term_of_its_log() {
    let mut nodes = Nodes::new(1);
    for round in 0..3 {
        let node = nodes.start(0).await;
        leader(&[&node]).await;
        propose_all(&node.group, round * 10..round * 10 + 10).await;
        node.raft.shutdown().await;
    }
    let before = nodes.homes[0].log.state().unwrap().last.unwrap().term;
    nodes.lose_votes(0);
    let node = nodes.start(0).await;
    leader(&[&node]).await;
    assert!(term(&nodes, 0) > before && !nodes.hard(0).unproven);
    propose_all(&node.group, 30..40).await;
    applied_everywhere(&nodes.homes, &bytes(0..40)).await;
    node.raft.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_waits_can_be_closed() {
    let (mut nodes, all, _) = written().await;
    stop(all).await;
    nodes.lose_votes(0);
    for closes in [true, false] {
        let node = nodes.start(0).await;
        assert_eq!(*node.group.suffrage().borrow(), Suffrage::Unproven);
        if closes {
            node.raft.close_group(GROUP).await.unwrap();
        }
        node.raft.shutdown().await;
        assert_eq!(std::sync::Arc::strong_count(&nodes.homes[0].log), 1, "a port is in use");
    }
}
