//! The coordinator against a store in memory and clocks that are moved by hand.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Coordinator, CoordinatorParts, lock};
use crate::group::memory_store::{MemoryStore, TwoTopics};
use crate::group::{
    CommitItem, CommitRequest, GroupError, GroupOptions, GroupState, JoinAnswer, JoinRefusal,
    JoinRequest, LeaveMember, ManualTicks, MemberClaim, StoreError, SyncAnswer, SyncRequest, Term,
};
use crate::model::{LeaderEpoch, ManualClock, Offset, PartitionIndex, Timestamp, TopicPartition};

struct Node {
    groups: Coordinator,
    store: MemoryStore,
    clock: Arc<ManualClock>,
    ticks: Arc<ManualTicks>,
}

impl Node {
    fn new(store: &MemoryStore, options: GroupOptions) -> Self {
        let (clock, ticks) = (Arc::new(ManualClock::new(Timestamp(1_000))), Arc::default());
        let groups = Coordinator::new(CoordinatorParts {
            options,
            store: Arc::new(store.clone()),
            topics: Arc::new(TwoTopics),
            clock: clock.clone(),
            ticks: Arc::clone(&ticks) as Arc<_>,
        });
        Self { groups, store: store.clone(), clock, ticks }
    }

    /// A node that coordinates in `term`; the commit queue runs beside it.
    async fn leading(store: &MemoryStore, term: u64) -> Self {
        let options = GroupOptions { initial_rebalance_delay_ms: 0, ..GroupOptions::default() };
        let node = Self::new(store, options);
        node.lead(term).await;
        let inner = node.groups.0.clone();
        tokio::spawn(async move { inner.run_commits().await });
        node
    }

    async fn lead(&self, term: u64) {
        self.store.contents().term = term;
        self.groups.0.resign();
        self.groups.0.lead(Term(term)).await;
    }

    /// Time passes for sessions and for the wall clock.
    fn wait(&self, ms: u64) {
        self.clock.advance_ms(ms as i64);
        self.ticks.advance_ms(ms);
        self.groups.0.fire_due();
    }

    fn spawn_join(&self, member: &str) -> JoinHandle<Result<JoinAnswer, JoinRefusal>> {
        let (groups, request) = (self.groups.clone(), join_request(member));
        tokio::spawn(async move { groups.join("g", request).await })
    }

    fn spawn_sync(
        &self,
        member: &JoinAnswer,
        shares: &[(&str, &str)],
    ) -> JoinHandle<Result<SyncAnswer, GroupError>> {
        let shares = shares
            .iter()
            .map(|(id, share)| (Arc::from(*id), Bytes::copy_from_slice(share.as_bytes())))
            .collect();
        let (groups, request) = (self.groups.clone(), sync_request(member, shares));
        tokio::spawn(async move { groups.sync("g", request).await })
    }

    /// A group of one, stable.
    async fn single_member(&self) -> JoinAnswer {
        let member = self.spawn_join("").await.unwrap().unwrap();
        self.spawn_sync(&member, &[(&member.member_id, "all")]).await.unwrap().unwrap();
        member
    }

    fn state(&self) -> GroupState {
        let summary = self.groups.describe("g").unwrap();
        summary.map_or(GroupState::Dead, |summary| summary.listing.state)
    }

    /// Lets the tasks that can run do so, until the group has `count` members that joined.
    async fn until_members(&self, count: usize) {
        while self.groups.describe("g").unwrap().is_none_or(|group| group.members.len() < count) {
            tokio::task::yield_now().await;
        }
    }
}

fn join_request(member: &str) -> JoinRequest {
    JoinRequest {
        member_id: member.into(),
        instance_id: None,
        fresh_id: format!("m-{:08x}", rand::random::<u32>()).into(),
        client_id: "c".into(),
        client_host: "/127.0.0.1".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![("range".into(), Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t"))],
        requires_known_id: false,
        can_skip_assignment: false,
    }
}

fn sync_request(member: &JoinAnswer, assignments: Vec<(Arc<str>, Bytes)>) -> SyncRequest {
    SyncRequest {
        claim: claim(member),
        protocol_type: Some("consumer".into()),
        protocol: Some("range".into()),
        assignments,
    }
}

fn claim(member: &JoinAnswer) -> MemberClaim {
    MemberClaim {
        member_id: member.member_id.clone(),
        instance_id: None,
        generation: member.generation,
    }
}

fn nobody() -> MemberClaim {
    MemberClaim { member_id: "".into(), instance_id: None, generation: -1 }
}

fn commit_request(claim: MemberClaim, items: &[(&str, i32, i64)]) -> CommitRequest {
    let item = |(topic, partition, offset): &(&str, i32, i64)| CommitItem {
        partition: TopicPartition::new(*topic, PartitionIndex(*partition)),
        offset: Offset(*offset),
        leader_epoch: LeaderEpoch(3),
        metadata: "m".into(),
    };
    let items = items.iter().map(item).collect();
    CommitRequest { claim, names_unknown_group: false, items }
}

async fn offset_of(node: &Node, group: &str, topic: &str) -> Option<i64> {
    let offsets = node.groups.offsets(group).await.unwrap();
    let found = offsets.into_iter().find(|entry| &*entry.partition.topic == topic);
    found.map(|entry| entry.committed.offset.0)
}

#[tokio::test]
async fn nothing_is_answered_before_it_is_stored() {
    let store = MemoryStore::default();
    let node = Node::leading(&store, 1).await;
    let held = store.hold().await;
    let join = node.spawn_join("");
    node.until_members(1).await;
    assert!(!join.is_finished() && store.contents().groups.is_empty());
    drop(held);
    let member = join.await.unwrap().unwrap();
    assert_eq!((member.generation, store.contents().groups["g"].generation), (1, 1));

    let held = store.hold().await;
    let sync = node.spawn_sync(&member, &[(&member.member_id, "all")]);
    let commit = {
        let groups = node.groups.clone();
        tokio::spawn(
            async move { groups.commit("h", commit_request(nobody(), &[("t", 0, 5)])).await },
        )
    };
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!sync.is_finished() && !commit.is_finished());
    assert_eq!(node.state(), GroupState::CompletingRebalance);
    drop(held);
    assert_eq!(&*sync.await.unwrap().unwrap().assignment, b"all");
    assert_eq!(commit.await.unwrap(), Ok(vec![Ok(())]));
    assert!(store.contents().groups["g"].assigned);
    assert_eq!(offset_of(&node, "h", "t").await, Some(5));
}

#[tokio::test]
async fn failover_of_a_stable_group_rebalances_nobody() {
    let store = MemoryStore::default();
    let old = Node::leading(&store, 1).await;
    let member = old.single_member().await;
    old.groups.commit("g", commit_request(claim(&member), &[("t", 0, 9)])).await.unwrap();

    let new = Node::leading(&store, 2).await;
    // The old one has not noticed: it cannot write, nor tell anybody about offsets.
    let request = commit_request(claim(&member), &[("t", 0, 8)]);
    assert_eq!(old.groups.commit("g", request).await, Err(GroupError::NotCoordinator));
    assert_eq!(old.groups.offsets("g").await, Err(GroupError::NotCoordinator));
    old.groups.0.resign();
    assert_eq!(old.groups.heartbeat("g", &claim(&member)), Err(GroupError::NotCoordinator));
    new.store.contents().is_stale = true;
    assert_eq!(new.groups.heartbeat("g", &claim(&member)), Err(GroupError::NotCoordinator));
    assert_eq!(new.groups.describe("g").err(), Some(GroupError::NotCoordinator));
    new.store.contents().is_stale = false;
    assert_eq!(old.groups.list(), Ok(Vec::new()));

    assert_eq!(new.groups.heartbeat("g", &claim(&member)), Ok(()));
    let share = new.spawn_sync(&member, &[]).await.unwrap().unwrap();
    assert_eq!(&*share.assignment, b"all");
    let request = commit_request(claim(&member), &[("t", 0, 10)]);
    assert_eq!(new.groups.commit("g", request).await, Ok(vec![Ok(())]));
    assert_eq!(offset_of(&new, "g", "t").await, Some(10));
    assert_eq!(new.state(), GroupState::Stable);
    // A member that stays silent expires a session timeout after the takeover.
    new.wait(9_999);
    assert_eq!(new.state(), GroupState::Stable);
    new.wait(1);
    assert_eq!(new.state(), GroupState::Empty);
}

#[tokio::test]
async fn losing_the_role_answers_whoever_waits() {
    let store = MemoryStore::default();
    let node = Node::leading(&store, 1).await;
    let a = node.single_member().await;
    let joining = node.spawn_join("");
    node.until_members(2).await;
    let held = store.hold().await;
    let committing = {
        let (groups, request) = (node.groups.clone(), commit_request(claim(&a), &[("t", 0, 1)]));
        tokio::spawn(async move { groups.commit("g", request).await })
    };
    tokio::task::yield_now().await;
    node.groups.0.resign();
    store.contents().term = 2;
    drop(held);
    assert_eq!(joining.await.unwrap().unwrap_err().error, GroupError::NotCoordinator);
    assert_eq!(committing.await.unwrap(), Err(GroupError::NotCoordinator));
}

#[tokio::test]
async fn role_follows_the_leadership_and_waits_for_the_store() {
    let store = MemoryStore::default();
    store.contents().term = 4;
    let node = Node::new(&store, GroupOptions::default());
    let (leading, receiver) = watch::channel(None);
    let groups = node.groups.clone();
    let run = tokio::spawn(async move { groups.run(receiver).await });
    let beat = || node.groups.heartbeat("g", &nobody());
    let list = || node.groups.list();
    assert_eq!(beat(), Err(GroupError::NotCoordinator));

    let held = store.hold().await;
    leading.send(Some(Term(4))).unwrap();
    while list() != Err(GroupError::CoordinatorLoadInProgress) {
        tokio::task::yield_now().await;
    }
    assert_eq!(beat(), Ok(()), "no reason to rejoin while the groups are loaded");
    let sync = SyncRequest {
        claim: nobody(),
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    };
    assert_eq!(node.groups.sync("g", sync).await, Err(GroupError::RebalanceInProgress));
    drop(held);
    while list() != Ok(Vec::new()) {
        tokio::task::yield_now().await;
    }
    assert_eq!(beat(), Err(GroupError::UnknownMemberId));

    leading.send(None).unwrap();
    while beat() != Err(GroupError::NotCoordinator) {
        tokio::task::yield_now().await;
    }
    drop(leading);
    run.await.unwrap();
}

#[tokio::test]
async fn commits_of_many_groups_share_a_write() {
    let store = MemoryStore::default();
    let node = Node::leading(&store, 1).await;
    let held = store.hold().await;
    let commits: Vec<_> = (0..50)
        .map(|n| {
            let groups = node.groups.clone();
            tokio::spawn(async move {
                let request = commit_request(nobody(), &[("t", 0, n)]);
                groups.commit(&format!("g{n}"), request).await
            })
        })
        .collect();
    while node.groups.list().unwrap().len() < 50 {
        tokio::task::yield_now().await;
    }
    drop(held);
    for commit in commits {
        assert_eq!(commit.await.unwrap(), Ok(vec![Ok(())]));
    }
    let batches = store.contents().batches.clone();
    assert_eq!(batches.iter().sum::<usize>(), 50);
    assert!(batches.len() <= 2, "{batches:?}");
    assert_eq!(offset_of(&node, "g49", "t").await, Some(49));
}

#[tokio::test]
async fn commits_are_checked_item_by_item() {
    let store = MemoryStore::default();
    let node = Node::leading(&store, 1).await;
    let mut request = commit_request(
        nobody(),
        &[("t", 0, 1), ("t", 600, 1), ("gone", 0, 1), ("u", -1, 1), ("u", 0, 2)],
    );
    request.items[4].metadata = "x".repeat(4_097).into();
    let outcomes = node.groups.commit("g", request).await.unwrap();
    let unknown = Err(GroupError::UnknownTopicOrPartition);
    let too_long = Err(GroupError::OffsetMetadataTooLarge);
    assert_eq!(outcomes, [Ok(()), unknown, unknown, unknown, too_long]);
    assert_eq!(node.groups.offsets("g").await.unwrap().len(), 1);

    let mut request = commit_request(nobody(), &[("t", 0, 1)]);
    request.claim.generation = 3;
    let outcome = node.groups.commit("nowhere", request.clone()).await;
    assert_eq!(outcome, Err(GroupError::IllegalGeneration));
    request.names_unknown_group = true;
    assert_eq!(node.groups.commit("nowhere", request).await, Err(GroupError::GroupIdNotFound));
    assert!(node.groups.describe("nowhere").unwrap().is_none());
}

#[tokio::test]
async fn store_failures_are_retriable_errors() {
    let store = MemoryStore::default();
    let node = Node::leading(&store, 1).await;
    let member = node.single_member().await;
    store.contents().failure = Some(StoreError::Unavailable);
    let request = commit_request(claim(&member), &[("t", 0, 1)]);
    let outcome = node.groups.commit("g", request).await;
    assert_eq!(outcome, Err(GroupError::CoordinatorNotAvailable));
    for failure in [StoreError::Unavailable, StoreError::Uncertain] {
        store.contents().failure = Some(failure);
        let refusal = node.spawn_join(&member.member_id).await.unwrap().unwrap_err();
        assert_eq!(refusal.error, GroupError::CoordinatorNotAvailable);
        assert_eq!(node.state(), GroupState::PreparingRebalance);
    }
    store.contents().failure = None;
    let member = node.spawn_join(&member.member_id).await.unwrap().unwrap();
    assert_eq!(member.generation, 4, "numbers of failed generations are not used again");
}

#[tokio::test]
async fn five_hundred_members_share_few_generations() {
    let store = MemoryStore::default();
    let node = Node::leading(&store, 1).await;
    let held = store.hold().await;
    let joins: Vec<_> = (0..500).map(|_| node.spawn_join("")).collect();
    node.until_members(500).await;
    drop(held);
    let mut members = Vec::new();
    for join in joins {
        members.push(join.await.unwrap().unwrap());
    }
    assert!(members.iter().all(|member| member.generation == members[0].generation));
    assert!(members[0].generation <= 2);
    let leaders: Vec<_> = members.iter().filter(|member| !member.members.is_empty()).collect();
    assert_eq!((leaders.len(), leaders[0].members.len()), (1, 500));

    let shares: Vec<(String, String)> = members
        .iter()
        .enumerate()
        .map(|(n, member)| (member.member_id.to_string(), n.to_string()))
        .collect();
    let shares: Vec<(&str, &str)> =
        shares.iter().map(|(id, share)| (id.as_str(), share.as_str())).collect();
    let syncs: Vec<_> = members
        .iter()
        .map(|member| {
            let is_leader = *member.leader == *member.member_id;
            node.spawn_sync(member, if is_leader { &shares } else { &[] })
        })
        .collect();
    for (n, sync) in syncs.into_iter().enumerate() {
        assert_eq!(&*sync.await.unwrap().unwrap().assignment, n.to_string().as_bytes());
    }
    assert_eq!(node.state(), GroupState::Stable);
    node.wait(10_000);
    assert_eq!(node.state(), GroupState::Empty, "all of them expire with one look");
}

#[tokio::test]
async fn memory_is_bounded() {
    let store = MemoryStore::default();
    let options = GroupOptions { groups_max: 3, ..GroupOptions::default() };
    let node = Node::new(&store, options);
    node.lead(1).await;
    for n in 0..10 {
        let request = JoinRequest { requires_known_id: true, ..join_request("") };
        let refusal = node.groups.join(&format!("g{n}"), request).await.unwrap_err();
        let want = if n < 3 { GroupError::MemberIdRequired } else { GroupError::TooManyGroups };
        assert_eq!(refusal.error, want);
    }
    // Ids that nobody comes back with expire, and with them groups that hold nothing else.
    node.wait(10_000);
    assert_eq!(node.groups.list(), Ok(Vec::new()));
    let refused = node.groups.join("g", JoinRequest { session_timeout_ms: 1, ..join_request("") });
    assert_eq!(refused.await.unwrap_err().error, GroupError::InvalidSessionTimeout);
    assert_eq!(node.groups.list(), Ok(Vec::new()), "a refused join leaves no group behind");
    let outcome = node.groups.join("", join_request("")).await;
    assert_eq!(outcome.unwrap_err().error, GroupError::InvalidGroupId);
    let outcome = node.groups.join(&"x".repeat(9_000), join_request("")).await;
    assert_eq!(outcome.unwrap_err().error, GroupError::InvalidGroupId);
}

#[tokio::test]
async fn expired_offsets_and_empty_groups_are_swept() {
    const DAY_MS: u64 = 24 * 3_600_000;
    let store = MemoryStore::default();
    let node = Node::leading(&store, 1).await;
    let member = node.single_member().await;
    let request = commit_request(claim(&member), &[("t", 0, 1), ("u", 0, 1)]);
    node.groups.commit("g", request).await.unwrap();
    node.groups.commit("simple", commit_request(nobody(), &[("t", 0, 1)])).await.unwrap();

    // Eight days of heartbeats: "u" is not subscribed to, "simple" has nobody.
    for _ in 0..8 {
        node.clock.advance_ms(DAY_MS as i64);
        node.groups.heartbeat("g", &claim(&member)).unwrap();
    }
    node.groups.0.sweep().await;
    assert_eq!(offset_of(&node, "g", "t").await, Some(1));
    assert_eq!(offset_of(&node, "g", "u").await, None);
    assert!(node.groups.offsets("simple").await.unwrap().is_empty());
    assert!(node.groups.describe("simple").unwrap().is_none());

    let leave = LeaveMember { member_id: member.member_id, instance_id: None };
    assert_eq!(node.groups.leave("g", &[leave]), Ok(vec![Ok(())]));
    while store.contents().groups["g"].generation < 2 {
        tokio::task::yield_now().await;
    }
    // Empty only since now: its offsets stay for a week more.
    node.groups.0.sweep().await;
    assert_eq!(offset_of(&node, "g", "t").await, Some(1));
    node.clock.advance_ms(7 * DAY_MS as i64);
    node.groups.0.sweep().await;
    assert!(store.contents().offsets.is_empty() && store.contents().groups.is_empty());
    assert_eq!(node.groups.list(), Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_coordinator_that_is_cut_off() {
    let store = MemoryStore::default();
    store.contents().term = 1;
    let options = GroupOptions { initial_rebalance_delay_ms: 0, ..GroupOptions::default() };
    let node = Node::new(&store, options);
    let (leading, receiver) = watch::channel(Some(Term(1)));
    let groups = node.groups.clone();
    let run = tokio::spawn(async move { groups.run(receiver).await });
    while node.groups.describe("g") != Ok(None) {
        tokio::task::yield_now().await;
    }
    let member = node.single_member().await;
    // Another joins, which waits for the first to come again, a commit and a question wait for the store.
    let join = node.spawn_join("");
    node.until_members(2).await;
    let closed = store.hold().await;
    let (groups, request) = (node.groups.clone(), commit_request(claim(&member), &[("t", 0, 9)]));
    let commit = tokio::spawn(async move { groups.commit("g", request).await });
    let groups = node.groups.clone();
    let offsets = tokio::spawn(async move { groups.offsets("g").await });
    while !lock(&node.groups.0.commits).is_empty() {
        tokio::task::yield_now().await;
    }
    store.contents().is_stale = true;
    assert_eq!(join.await.unwrap().unwrap_err().error, GroupError::NotCoordinator);
    assert_eq!(commit.await.unwrap(), Err(GroupError::NotCoordinator));
    assert_eq!(offsets.await.unwrap(), Err(GroupError::NotCoordinator));
    let stranger = LeaveMember { member_id: "nobody".into(), instance_id: None };
    let left = node.groups.leave("unheard-of", &[stranger]);
    assert_eq!(left, Err(GroupError::NotCoordinator), "another may know the group");
    let synced = node.spawn_sync(&member, &[]).await.unwrap();
    assert_eq!(synced.unwrap_err(), GroupError::NotCoordinator);

    // It was not replaced.
    drop(closed);
    store.contents().is_stale = false;
    let mut cut_off = node.groups.0.cut_off.subscribe();
    cut_off.wait_for(|cut_off| !cut_off).await.unwrap();
    let again = node.spawn_join(&member.member_id).await.unwrap().unwrap();
    assert!(again.generation > member.generation);
    drop(leading);
    run.await.unwrap();
}

#[tokio::test]
async fn timer_task_expires_members_and_starts_sweeps() {
    let store = MemoryStore::default();
    store.contents().term = 1;
    let node = Node::new(&store, GroupOptions::default());
    let (leading, receiver) = watch::channel(Some(Term(1)));
    let groups = node.groups.clone();
    let run = tokio::spawn(async move { groups.run(receiver).await });
    while node.groups.describe("g") != Ok(None) {
        tokio::task::yield_now().await;
    }
    let join = node.spawn_join("");
    node.until_members(1).await;
    node.ticks.advance_ms(250);
    node.groups.0.timer_wake.notify_one();
    let member = join.await.unwrap().unwrap();
    node.spawn_sync(&member, &[]).await.unwrap().unwrap();
    node.ticks.advance_ms(10_000);
    node.groups.0.timer_wake.notify_one();
    while node.state() != GroupState::Empty {
        tokio::task::yield_now().await;
    }
    while !store.contents().groups["g"].members.is_empty() {
        tokio::task::yield_now().await;
    }
    node.ticks.advance_ms(600_000);
    node.groups.0.timer_wake.notify_one();
    while node.state() != GroupState::Dead {
        tokio::task::yield_now().await;
    }
    drop(leading);
    run.await.unwrap();
}
