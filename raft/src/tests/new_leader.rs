//! Whoever was just elected is named before its first entry is committed, and serves nothing until then; and it asks the
//! voters nothing that their votes have told.

use std::time::Duration;

use super::cluster::*;

/// Three nodes, one of which has just been handed the group, while none gets an entry to disk; who that is. (Where a
/// leader stops, both of the others might stand.)
async fn elected_and_held(peer_dead_ms: u64) -> (Cluster, usize) {
    let mut homes = homes(3);
    homes.iter_mut().for_each(|home| home.peer_dead_ms = peer_dead_ms);
    let cluster = Cluster::written_at(homes, 0..10).await;
    // From now on nobody else becomes ready.
    hold(&cluster, true);
    let (_, to) = cluster.hand_over().await;
    let mut role = cluster.groups[to].role();
    drop(within("it is elected", role.wait_for(|role| role.is_leader)).await.unwrap());
    (cluster, to)
}

fn hold(cluster: &Cluster, hold: bool) {
    cluster.homes.iter().for_each(|home| home.log.hold_flushes(hold));
}

fn names(cluster: &Cluster, at: usize, leader: usize) -> bool {
    let led = cluster.nodes[at].leader_of(GROUP);
    led.is_some_and(|led| led.leader == cluster.homes[leader].id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_elected_is_named_at_once_and_serves_when_it_is_confirmed() {
    let (cluster, at) = elected_and_held(10_000).await;
    assert!(names(&cluster, at, at));
    let group = &cluster.groups[at];
    assert!(group.is_new());
    let other = (at + 1) % 3;
    let mut version = cluster.nodes[other].leadership_version();
    within("another one names it as well", async {
        while !names(&cluster, other, at) {
            version.changed().await.unwrap();
        }
    })
    .await;

    hold(&cluster, false);
    drop(within("it is ready", group.role().wait_for(|role| role.ready)).await.unwrap());
    assert!(!group.is_new() && group.is_confirmed() && names(&cluster, at, at));
    propose_all(group, 10..20).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_elected_and_is_left_alone_names_itself_no_longer() {
    let (cluster, at) = elected_and_held(500).await;
    for other in (0..3).filter(|other| *other != at) {
        cluster.nodes[other].shutdown().await;
    }
    within("nobody is named", async {
        while cluster.nodes[at].leader_of(GROUP).is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(cluster.groups[at].status().borrow().is_leader && !cluster.groups[at].is_new());
    hold(&cluster, false);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_elected_does_not_look_for_what_the_voters_have() {
    let cluster = Cluster::written(0..200).await;
    let (_, to) = cluster.hand_over().await;
    until(&cluster.groups[to], "it is ready", |status| status.leader_ready).await;
    let spared = cluster.groups[to].signals().grants.spared();
    // A majority is one voter beside it, and to halve 200 entries takes some requests.
    assert!(spared >= 3, "{spared}");
    propose_all(&cluster.groups[to], 200..220).await;
    applied_everywhere(&cluster.homes, &bytes(0..220)).await;
    cluster.stop().await;
}
