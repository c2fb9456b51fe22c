//! Strangers at the peer port, calls, and what nodes know of one another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::cluster::*;
use crate::wire::{Hello, HelloAnswer, HelloRefusal, PROTOCOL_VERSION, Purpose};
use crate::*;

/// Node 2 alone, with node 1 in its list: node 1 is for the test to play.
pub(super) async fn lonely() -> (Vec<Home>, RaftNode) {
    let mut homes = homes(2);
    let peers = addresses(&homes);
    let node = homes[1].start(peers).await;
    (homes, node)
}

pub(super) async fn say_hello(home: &Home, hello: &Hello) -> (TcpStream, HelloAnswer) {
    let mut socket = TcpStream::connect(home.address).await.unwrap();
    socket.write_all(&hello.to_bytes()).await.unwrap();
    let mut prefix = [0; Hello::PREFIX_LEN];
    within("an answer", socket.read_exact(&mut prefix)).await.unwrap();
    let (version, length) = Hello::prefix(&prefix).unwrap();
    let mut rest = vec![0; length];
    within("an answer's rest", socket.read_exact(&mut rest)).await.unwrap();
    (socket, HelloAnswer::from_rest(version, rest.into()).unwrap())
}

pub(super) fn right_hello() -> Hello {
    let cluster = cluster_id().to_string();
    Hello {
        version: PROTOCOL_VERSION,
        from: NodeId(1),
        patience_ms: 500,
        to: NodeId(2),
        purpose: Purpose::Main,
        cluster,
    }
}

async fn closed(mut socket: TcpStream) {
    let mut sink = Vec::new();
    // A reset is a close as well: the other side had unread bytes of ours.
    let _ = within("the connection is closed", socket.read_to_end(&mut sink)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hellos_of_others_are_refused_with_a_reason() {
    let (homes, node) = lonely().await;
    let right = right_hello();
    let cases = [
        (Hello { cluster: "other".to_owned(), ..right.clone() }, HelloRefusal::Cluster),
        (Hello { to: NodeId(3), ..right.clone() }, HelloRefusal::NotMe),
        (Hello { from: NodeId(77), ..right.clone() }, HelloRefusal::UnknownNode),
        (Hello { version: 9, ..right.clone() }, HelloRefusal::Version),
    ];
    for (hello, expected) in cases {
        let (socket, answer) = say_hello(&homes[1], &hello).await;
        let (refusal, reason) = answer.refusal.unwrap();
        assert_eq!(refusal, expected, "{reason}");
        closed(socket).await;
    }
    assert!(!node.peers().borrow()[&NodeId(1)].connected);
    let (_socket, answer) = say_hello(&homes[1], &right).await;
    assert_eq!(answer.refusal, None);
    let mut peers = node.peers();
    let connected = peers.wait_for(|peers| peers[&NodeId(1)].connected);
    within("the right one is welcome", connected).await.unwrap();
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_bytes_close_the_connection_and_nothing_else() {
    let (homes, node) = lonely().await;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random: rand::rngs::StdRng = rand::SeedableRng::seed_from_u64(seed);
    for round in 0..20 {
        let mut noise = vec![0; 4_096];
        rand::Rng::fill(&mut random, &mut noise[..]);
        let mut socket = if round % 2 == 0 {
            TcpStream::connect(homes[1].address).await.unwrap()
        } else {
            let (socket, answer) = say_hello(&homes[1], &right_hello()).await;
            assert_eq!(answer.refusal, None);
            socket
        };
        // The node may have closed already, after the first bytes.
        let _ = socket.write_all(&noise).await;
        closed(socket).await;
    }
    let group = homes[1].open(&node).await;
    group.initialize([NodeId(2)].into()).await.unwrap();
    until(&group, "leads", |status| status.leader_ready).await;
    node.shutdown().await;
}

#[derive(Default)]
struct Echo {
    /// Calls of kind 1 that came: they are never answered.
    held: watch::Sender<u32>,
}

impl CallHandler for Echo {
    fn call(&self, from: NodeId, kind: u8, body: Bytes) -> BoxFuture<'_, Result<Bytes, CallError>> {
        Box::pin(async move {
            match kind {
                0 => Ok(Bytes::from([&from.0.to_be_bytes()[..], &body].concat())),
                1 => {
                    self.held.send_modify(|count| *count += 1);
                    std::future::pending().await
                }
                _ => Err(CallError::Failed("no such kind".to_owned())),
            }
        })
    }
}

async fn connected(node: &RaftNode, to: NodeId) {
    let mut peers = node.peers();
    let alive = peers.wait_for(|peers| peers.get(&to).is_some_and(|peer| peer.alive));
    within("a living peer", alive).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_answered_refused_or_end_at_their_deadline() {
    let mut homes = homes(2);
    let peers = addresses(&homes);
    let (one, two) = (homes[0].start(peers.clone()).await, homes[1].start(peers).await);
    connected(&one, two.id()).await;
    connected(&two, one.id()).await;
    let body = Bytes::from_static(b"hi");
    let early = one.call(two.id(), 0, body.clone(), SOON).await;
    assert_eq!(early, Err(CallError::NotServed));
    one.serve_calls(Arc::new(Echo::default()));
    let echo = Arc::new(Echo::default());
    let mut held = echo.held.subscribe();
    two.serve_calls(echo);
    for (from, to) in [(&one, &two), (&two, &one), (&one, &one)] {
        let answer = from.call(to.id(), 0, body.clone(), SOON).await.unwrap();
        assert_eq!(answer, [&from.id().0.to_be_bytes()[..], b"hi"].concat());
        let refused = from.call(to.id(), 9, body.clone(), SOON).await;
        assert_eq!(refused, Err(CallError::Failed("no such kind".to_owned())));
        let began = Instant::now();
        let late = from.call(to.id(), 1, body.clone(), Duration::from_millis(50)).await;
        assert_eq!(late, Err(CallError::Timeout));
        assert!(began.elapsed() < Duration::from_secs(5));
    }
    let big = Bytes::from(vec![7; 20 << 20]);
    let answer = one.call(two.id(), 0, big.clone(), SOON).await.unwrap();
    assert_eq!(answer.len(), big.len() + 8);
    let huge = Bytes::from(vec![7; 129 << 20]);
    let refused = one.call(two.id(), 0, huge, SOON).await;
    assert!(matches!(refused, Err(CallError::TooLarge(_))), "{refused:?}");
    let nobody = one.call(NodeId(9), 0, body.clone(), SOON).await;
    assert_eq!(nobody, Err(CallError::Unreachable(NodeId(9))));

    let waiting = {
        let (one, to) = (one.clone(), two.id());
        tokio::spawn(async move { one.call(to, 1, Bytes::new(), SOON).await })
    };
    // The second of this kind: the one before ran into its deadline.
    let came = held.wait_for(|count| *count == 2);
    drop(within("the call arrives", came).await.unwrap());
    two.shutdown().await;
    let lost = within("a lost connection ends the call", waiting).await.unwrap();
    assert_eq!(lost, Err(CallError::Unreachable(two.id())));
    one.shutdown().await;
    assert_eq!(one.call(two.id(), 0, body, SOON).await, Err(CallError::Shutdown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_a_replica_know_the_leader() {
    let mut homes = homes(2);
    let peers = addresses(&homes);
    let two = homes[1].start(peers.clone()).await;
    let group = homes[1].open(&two).await;
    group.initialize([NodeId(2)].into()).await.unwrap();
    until(&group, "leads", |status| status.leader_ready).await;
    // Node 1 learns of the leadership when it connects, and of its end at once.
    let one = homes[0].start(peers).await;
    let mut version = one.leadership_version();
    let learnt = async {
        while one.leader_of(GROUP).is_none() {
            version.changed().await.unwrap();
        }
    };
    within("node 1 learns", learnt).await;
    let known = one.leader_of(GROUP).unwrap();
    assert_eq!((known.leader, known.term), (NodeId(2), group.status().borrow().term));
    two.close_group(GROUP).await.unwrap();
    let forgotten = async {
        while one.leader_of(GROUP).is_some() {
            version.changed().await.unwrap();
        }
    };
    within("node 1 forgets", forgotten).await;
    two.shutdown().await;
    let mut peers = one.peers();
    let dead = peers.wait_for(|peers| !peers[&NodeId(2)].alive);
    within("node 1 sees node 2 die", dead).await.unwrap();
    one.shutdown().await;
}

#[tokio::test]
async fn options_are_checked() {
    let mut options = NodeOptions::new(NodeId(1), cluster_id(), BTreeMap::new());
    options.timing.peer_dead_ms = options.timing.heartbeat_ms;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let started = RaftNode::start(options, listener, Arc::<testing::MemHardState>::default()).await;
    assert!(matches!(started, Err(RaftError::Options(_))), "{started:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_busy_is_heard() {
    let mut homes = homes(2);
    let peers = addresses(&homes);
    let dead = Timing::default().peer_dead_ms;
    let busy = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let (busy, mut home) = (busy.unwrap(), homes.remove(0));
    let (two, one) = (homes[0].start(peers.clone()).await, {
        busy.spawn(async move { home.start(peers).await }).await.unwrap()
    });
    connected(&two, one.id()).await;
    // Its only worker does nothing for anybody else.
    let work = busy.spawn(async move { std::thread::sleep(Duration::from_millis(3 * dead)) });
    let mut statuses = two.peers();
    let lost = statuses.wait_for(|peers| !peers[&NodeId(1)].alive || peers[&NodeId(1)].dead);
    tokio::select! {
        _ = lost => panic!("a busy node was taken for dead"),
        _ = work => {}
    }
    two.shutdown().await;
    busy.spawn(async move { one.shutdown().await }).await.unwrap();
    busy.shutdown_background();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_of_an_idle_group_is_confirmed_anew_once_its_voters_were_away() {
    let mut cluster = Cluster::start(3).await;
    let leader = cluster.leader().await;
    propose_all(&cluster.groups[leader], 0..20).await;
    applied_everywhere(&cluster.homes, &bytes(0..20)).await;
    let others: Vec<_> = (0..3).filter(|at| *at != leader).collect();
    let mut idle_since = Instant::now();
    for at in &others {
        idle_since = Instant::now();
        cluster.restart(*at, leader).await;
    }
    // To ask whether it is confirmed would make it so.
    let is_acked = |at: &usize| {
        let acked = cluster.groups[leader].acked(cluster.homes[*at].id);
        acked.is_some_and(|acked| acked > idle_since)
    };
    within("nobody asks, and voters answer", async {
        while !others.iter().any(is_acked) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    cluster.stop().await;
}
