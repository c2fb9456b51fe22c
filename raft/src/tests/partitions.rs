//! Cables are cut between nodes whose groups were idle: whoever was cut off stops to answer before
//! another is elected, and nothing acknowledged is lost.
//!
//! `JACKDAW_SEED=n JACKDAW_ROUNDS=n cargo test -p jackdaw-raft partitions` repeats or prolongs a run.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::cluster::{SOON, cluster_id, until, within};
use super::valve::{Cut, Valve};
use crate::testing::{MemHardState, MemLog, MemMachine};
use crate::*;

const NODES: usize = 3;
const GROUPS: u32 = 6;
/// From a cut, until a group whose majority can talk takes writes again.
const WRITABLE: Duration = Duration::from_secs(5);

struct Node {
    raft: RaftNode,
    groups: Vec<Group>,
    machines: Vec<Arc<MemMachine>>,
    logs: Vec<Arc<MemLog>>,
}

fn id(at: usize) -> NodeId {
    NodeId(at as u64 + 1)
}

struct Network {
    nodes: Vec<Node>,
    /// By dialer and dialed.
    cables: BTreeMap<(usize, usize), Valve>,
}

impl Network {
    async fn start() -> Self {
        let listeners: Vec<_> =
            (0..NODES).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let mut cables = BTreeMap::new();
        for from in 0..NODES {
            for (to, listener) in listeners.iter().enumerate() {
                let address = listener.local_addr().unwrap();
                cables.insert((from, to), Valve::to(address).await);
            }
        }
        let mut nodes = Vec::new();
        for (at, listener) in listeners.into_iter().enumerate() {
            // Else the nodes' heartbeats would go in step, as those of machines do not.
            tokio::time::sleep(Timing::default().heartbeat() / NODES as u32).await;
            let peers = (0..NODES).map(|to| (id(to), cables[&(at, to)].address.to_string()));
            let options = NodeOptions::new(id(at), cluster_id(), peers.collect());
            let hard = Arc::new(MemHardState::default());
            let raft = RaftNode::start(options, listener, hard).await.unwrap();
            let (mut groups, mut machines, mut logs) = (Vec::new(), Vec::new(), Vec::new());
            for partition in 0..GROUPS {
                let (log, machine) = (Arc::new(MemLog::default()), Arc::<MemMachine>::default());
                let group = GroupId { topic: 9, partition };
                let group =
                    raft.open_group(group, log.clone(), machine.clone(), None).await.unwrap();
                let voters: BTreeSet<_> = (0..NODES).map(id).collect();
                group.initialize(voters).await.unwrap();
                groups.push(group);
                machines.push(machine);
                logs.push(log);
            }
            nodes.push(Node { raft, groups, machines, logs });
        }
        Self { nodes, cables }
    }

    /// Cuts just the ways, from one node to another, that are told.
    fn cut(&self, is_cut: impl Fn(usize, usize) -> bool) {
        for ((from, to), cable) in &self.cables {
            let (there, back) = (is_cut(*from, *to), is_cut(*to, *from));
            cable.set(Cut { there, back, ..Cut::default() });
        }
    }

    /// Makes the way between `at` and the others so long.
    fn remove(&self, at: usize, delay: Duration) {
        let cables = self.cables.iter().filter(|((from, to), _)| *from == at || *to == at);
        cables.for_each(|(_, cable)| cable.set(Cut { delay, ..Cut::default() }));
    }

    /// Cuts what `at` sends to the others, what it hears of them, or both.
    fn isolate(&self, at: usize, sends: bool, hears: bool) {
        self.cut(|from, to| from == at && sends || to == at && hears);
    }

    /// Cuts a single pair of nodes.
    fn cut_pair(&self, one: usize, other: usize) {
        self.cut(|from, to| (from, to) == (one, other) || (from, to) == (other, one));
    }

    fn heal(&self) {
        self.cut(|_, _| false);
    }

    /// Waits until `to` has answered heartbeats of `from` again, the last of them a fresh one.
    async fn hears_echoes(&self, from: usize, to: usize) {
        let rtt = || self.nodes[from].raft.peers().borrow()[&id(to)].rtt;
        for _ in 0..2 {
            let before = rtt();
            within("heartbeats are echoed", async {
                while rtt() == before {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
        }
    }

    /// Waits until all nodes follow the same leader and have applied what it has; who that is. What one of them knows
    /// of a later term would come up in the middle of a test.
    async fn settled(&self, group: usize) -> usize {
        within("all follow the same leader", async {
            loop {
                let all: Vec<_> =
                    self.nodes.iter().map(|node| node.groups[group].status().borrow()).collect();
                let known = |status: &GroupStatus| (status.term, status.leader, status.applied);
                let leader = all.iter().position(|status| status.leader_ready);
                if let Some(leader) = leader
                    && all.iter().all(|status| known(status) == known(&all[leader]))
                {
                    return leader;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    /// Cuts a follower off that has an entry, and then has it committed: who it is, and which entry. `None` where an election came
    /// between, which this holds up for as long as it waits.
    async fn cut_before_commit(&self, group: usize) -> Option<(usize, u64)> {
        self.write(group, &Bytes::from_static(b"first"), SOON).await.unwrap();
        let leader = self.settled(group).await;
        let away = (leader + 1) % NODES;
        let hold = |hold| {
            let others = (0..NODES).filter(|node| *node != away);
            others.for_each(|node| self.nodes[node].logs[group].hold_flushes(hold));
        };
        let leading = &self.nodes[leader].groups[group];
        let mut status = leading.status();
        hold(true);
        let replicated = tokio::time::timeout(Duration::from_secs(2), async {
            let last = vec![Data::new(Bytes::from_static(b"last"))];
            let answer = leading.propose(last).await.ok()?.remove(0);
            let at = status.wait_for(|status| status.last > status.committed).await.ok()?.last?;
            let has_it = |status: &GroupStatus| status.replication.get(&id(away)) == Some(&at);
            status.wait_for(has_it).await.ok()?;
            Some((answer, at))
        })
        .await;
        if let Ok(Some(_)) = replicated {
            self.isolate(away, true, true);
        }
        hold(false);
        let (answer, at) = replicated.ok()??;
        within("an answer", answer).await.unwrap().ok()?;
        let mut peers = self.nodes[leader].raft.peers();
        let missed = peers.wait_for(|peers| !peers[&id(away)].connected);
        drop(within("it is missed", missed).await.unwrap());
        Some((away, at))
    }

    /// Proposes `payload` wherever the group is led, until it is acknowledged.
    async fn write(&self, group: usize, payload: &Bytes, within: Duration) -> Result<(), String> {
        let begun = Instant::now();
        let mut last = "nobody led".to_owned();
        while begun.elapsed() < within {
            for node in &self.nodes {
                if !node.groups[group].is_confirmed() {
                    continue;
                }
                let proposed = node.groups[group].propose(vec![Data::new(payload.clone())]).await;
                let Ok(mut receivers) = proposed else { continue };
                let answer = tokio::time::timeout(Duration::from_millis(500), receivers.remove(0));
                match answer.await {
                    Ok(Ok(Ok(_))) => return Ok(()),
                    other => last = format!("{other:?}"),
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let status = |node: &Node| format!("{:?}", node.groups[group].status().borrow());
        let statuses: Vec<_> = self.nodes.iter().map(status).collect();
        Err(format!("{last}\n{}", statuses.join("\n")))
    }

    /// Each node's term where it may answer as the leader of a group.
    fn answering(&self, group: usize) -> Vec<Option<u64>> {
        let term = |node: &Node| {
            let group = &node.groups[group];
            let term = group.role().borrow().term;
            group.is_confirmed().then_some(term)
        };
        self.nodes.iter().map(term).collect()
    }

    /// Whether two nodes answered for a group, both before and after one another.
    fn two_answer(&self, group: usize) -> Option<String> {
        let (first, second) = (self.answering(group), self.answering(group));
        let both = first.iter().zip(&second).filter(|(a, b)| a.is_some() && a == b).count();
        (both > 1).then(|| format!("group {group}: {first:?}, {second:?}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_cut_off_stops_answering_before_another_leads() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seed = number("JACKDAW_SEED").unwrap_or_else(rand::random);
    let rounds = number("JACKDAW_ROUNDS").unwrap_or(6);
    println!("JACKDAW_SEED={seed} JACKDAW_ROUNDS={rounds}");
    let mut random = StdRng::seed_from_u64(seed);
    let network = Arc::new(Network::start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let observer = {
        let (network, stop) = (network.clone(), stop.clone());
        tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                for group in 0..GROUPS as usize {
                    if let Some(found) = network.two_answer(group) {
                        return Some(found);
                    }
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            None
        })
    };
    let mut written: Vec<Vec<Bytes>> = vec![Vec::new(); GROUPS as usize];
    let mut longest = Duration::ZERO;
    let mut count = 0_u64;
    let mut write = async |group: usize, limit| {
        let payload = Bytes::copy_from_slice(&count.to_be_bytes());
        count += 1;
        let begun = Instant::now();
        let outcome = network.write(group, &payload, limit).await;
        assert!(outcome.is_ok(), "seed {seed}, group {group}: {}", outcome.unwrap_err());
        written[group].push(payload);
        begun.elapsed()
    };
    for group in 0..GROUPS as usize {
        write(group, SOON).await;
    }
    for round in 0..rounds {
        let leader = |group: usize| {
            network.answering(group).iter().position(Option::is_some).unwrap_or_default()
        };
        let at = leader(random.random_range(0..GROUPS as usize));
        match random.random_range(0..4) {
            0 => network.isolate(at, true, true),
            1 => network.isolate(at, true, false),
            2 => network.isolate(at, false, true),
            _ => network.cut_pair(at, (at + random.random_range(1..NODES)) % NODES),
        }
        // Groups that were idle until now, most of them.
        let first = random.random_range(0..GROUPS as usize);
        for group in [first, (first + 1) % GROUPS as usize] {
            longest = longest.max(write(group, WRITABLE).await);
        }
        network.heal();
        if round % 2 == 0 {
            write(random.random_range(0..GROUPS as usize), WRITABLE).await;
        }
    }
    network.heal();
    for group in 0..GROUPS as usize {
        write(group, WRITABLE).await;
    }
    stop.store(true, Ordering::Relaxed);
    let doubled = observer.await.unwrap();
    assert_eq!(doubled, None, "seed {seed}: two nodes answered as leaders");
    for (group, written) in written.iter().enumerate() {
        let mut all: Vec<Arc<Vec<Bytes>>> = Vec::new();
        for node in &network.nodes {
            let mut payloads = node.machines[group].payloads();
            let has_last = |found: &Arc<Vec<Bytes>>| found.last() == written.last();
            let found = within("every node applies everything", payloads.wait_for(has_last)).await;
            all.push(found.unwrap().clone());
        }
        assert!(all.iter().all(|found| *found == all[0]), "seed {seed}: replicas differ");
        let missing = written.iter().find(|payload| !all[0].contains(payload));
        assert_eq!(missing, None, "seed {seed}, group {group}: an acknowledged write is lost");
    }
    println!("longest time until a formerly idle group was written to: {longest:?}");
    for node in &network.nodes {
        node.raft.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_that_is_cut_off_holds_nothing_up() {
    let network = Network::start().await;
    let mut written = 0_u64;
    let mut payload = || {
        written += 1;
        Bytes::copy_from_slice(&written.to_be_bytes())
    };
    for group in 0..GROUPS as usize {
        network.write(group, &payload(), SOON).await.unwrap();
        let leader = network.answering(group).iter().position(Option::is_some).unwrap();
        let to = (leader + 1) % NODES;
        network.isolate(to, true, true);
        let handed = network.nodes[leader].groups[group].transfer_leader(NodeId(to as u64 + 1));
        assert!(within("a hand-over ends", handed).await.is_err());
        network.write(group, &payload(), WRITABLE).await.unwrap();
        network.heal();
        network.write(group, &payload(), WRITABLE).await.unwrap();
    }
    for node in &network.nodes {
        node.raft.shutdown().await;
    }
}

/// Heard by its voters, who elect nobody therefore, and too late to be confirmed by them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_too_far_away_to_be_confirmed_resigns() {
    let network = Network::start().await;
    let mut led = Vec::new();
    for group in 0..GROUPS as usize {
        network.write(group, &Bytes::from_static(b"before"), SOON).await.unwrap();
        led.push(network.settled(group).await);
    }
    let away = led[0];
    // There and back is more than a lease, and each message comes well before anybody is taken for dead.
    network.remove(away, Timing::default().peer_dead() / 2);
    let near = |group: usize| network.answering(group).iter().position(Option::is_some);
    within("all groups are led by the others", async {
        while !(0..GROUPS as usize).all(|group| near(group).is_some_and(|at| at != away)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for group in 0..GROUPS as usize {
        network.write(group, &Bytes::from_static(b"after"), SOON).await.unwrap();
    }
    network.heal();
    for node in &network.nodes {
        node.raft.shutdown().await;
    }
}

/// What is committed is told with the next entry, or alone where none follows: the latter must not be lost with a
/// connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_cut_off_before_it_heard_of_a_commit_hears_of_it() {
    let network = Network::start().await;
    for at in 0..GROUPS as usize {
        let (away, entry) = within("a cut before a commit is told", async {
            loop {
                if let Some(cut) = network.cut_before_commit(at).await {
                    return cut;
                }
                network.heal();
            }
        })
        .await;
        network.heal();
        let knows = |status: &GroupStatus| status.applied.is_some_and(|last| last.index >= entry);
        until(&network.nodes[away].groups[at], "it hears of the commit", knows).await;
    }
    for node in &network.nodes {
        node.raft.shutdown().await;
    }
}

/// Whoever has helped to depose a leader that nobody heard does not vouch for it when it is heard again, even
/// over a connection that never ended: it may be the only one that the old leader hears.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_voted_out_is_not_confirmed_by_those_who_did() {
    let network = Network::start().await;
    let mut tried = 0;
    while tried < 8 {
        let at = tried % GROUPS as usize;
        network.write(at, &Bytes::from_static(b"led"), WRITABLE).await.unwrap();
        let old = network.answering(at).iter().position(Option::is_some).unwrap();
        let others: Vec<_> = (0..NODES).filter(|node| *node != old).collect();
        let group = |node: usize| &network.nodes[node].groups[at];
        // Who stands first, mostly, and who is asked.
        let first = others[group(old).id().spread() as usize % others.len()];
        let asked = others.into_iter().find(|node| *node != first).unwrap();
        let (term, last) = {
            let status = group(old).status();
            let status = status.borrow();
            (status.term, status.last)
        };
        for node in 0..NODES {
            let is_idle =
                |status: &GroupStatus| status.applied.map(|applied| applied.index) == last;
            until(group(node), "all is applied", is_idle).await;
        }
        network.cut(|from, to| from == old || (from, to) == (first, old));
        let leads = |status: &GroupStatus| status.leader_ready && status.term > term;
        let (mut one, mut other) = (group(first).status(), group(asked).status());
        let leader = within("another leads", async {
            tokio::select! {
                _ = one.wait_for(leads) => first,
                _ = other.wait_for(leads) => asked,
            }
        });
        if leader.await == first {
            tried += 1;
            network.cut_pair(first, old);
            // The old leader is not asked before: it would look for news of who leads.
            network.hears_echoes(old, asked).await;
            assert!(!group(old).is_confirmed(), "try {tried}: two lead group {at}");
        }
        network.heal();
    }
}
