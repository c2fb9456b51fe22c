//! Random sequences of events against the promises at the head of `classic`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::super::{
    GroupOptions, GroupRecord, JoinRequest, LeaveMember, MemberClaim, Now, StoreError, SyncRequest,
    Tick,
};
use super::super::{ClassicGroup, Effects, Token, Write};
use super::script::subscription;
use crate::model::Timestamp;

const CLIENTS: usize = 4;

#[derive(Clone, Debug)]
enum Event {
    Join { client: usize, is_static: bool, version: i16, topics: u8 },
    Sync { client: usize },
    Beat { client: usize },
    Leave { client: usize },
    Forget { client: usize },
    Wait { ms: u64 },
    Written { outcome: u8 },
    Failover,
}

fn event() -> impl Strategy<Value = Event> {
    let client = 0..CLIENTS;
    prop_oneof![
        6 => (client.clone(), any::<bool>(), 3_i16..10, 0_u8..2).prop_map(
            |(client, is_static, version, topics)| Event::Join { client, is_static, version, topics }
        ),
        5 => client.clone().prop_map(|client| Event::Sync { client }),
        2 => client.clone().prop_map(|client| Event::Beat { client }),
        1 => client.clone().prop_map(|client| Event::Leave { client }),
        1 => client.prop_map(|client| Event::Forget { client }),
        2 => (0_u64..12_000).prop_map(|ms| Event::Wait { ms }),
        8 => (0_u8..6).prop_map(|outcome| Event::Written { outcome }),
        1 => Just(Event::Failover),
    ]
}

#[derive(Clone, Default)]
struct Client {
    member_id: String,
    generation: i32,
    is_static: bool,
}

struct World {
    group: ClassicGroup,
    options: Arc<GroupOptions>,
    now: u64,
    clients: Vec<Client>,
    /// Unanswered requests.
    waiting: BTreeMap<Token, usize>,
    tokens: u64,
    under_way: Option<Write>,
    stored: Option<GroupRecord>,
    /// The highest generation that any client has seen.
    seen: i32,
    /// (generation, member) → the share it was given.
    shares: BTreeMap<(i32, String), Bytes>,
    /// Generation → the members that its leader was told.
    rosters: BTreeMap<i32, BTreeSet<String>>,
    serial: u64,
}

impl World {
    fn new(delay_ms: u32) -> Self {
        let options = GroupOptions {
            initial_rebalance_delay_ms: delay_ms,
            members_max: CLIENTS - 1,
            pending_members_max: 2,
            ..GroupOptions::default()
        };
        let options = Arc::new(options);
        Self {
            group: ClassicGroup::new("g".into(), options.clone(), Timestamp(0)),
            options,
            now: 0,
            clients: vec![Client::default(); CLIENTS],
            waiting: BTreeMap::new(),
            tokens: 0,
            under_way: None,
            stored: None,
            seen: 0,
            shares: BTreeMap::new(),
            rosters: BTreeMap::new(),
            serial: 0,
        }
    }

    fn at(&self) -> Now {
        Now { tick: Tick(self.now), wall: Timestamp(self.now as i64) }
    }

    fn token(&mut self, client: usize) -> Token {
        self.tokens += 1;
        self.waiting.insert(Token(self.tokens), client);
        Token(self.tokens)
    }

    fn claim(&self, client: usize) -> MemberClaim {
        let state = &self.clients[client];
        MemberClaim {
            member_id: state.member_id.as_str().into(),
            instance_id: self.instance(client),
            generation: state.generation,
        }
    }

    /// Clients share instance ids in pairs, so that they fence each other.
    fn instance(&self, client: usize) -> Option<Arc<str>> {
        self.clients[client].is_static.then(|| format!("i{}", client / 2).into())
    }

    fn act(&mut self, event: &Event) {
        let now = self.at();
        let mut fx = Effects::default();
        match *event {
            Event::Join { client, is_static, version, topics } => {
                if self.clients[client].member_id.is_empty() {
                    self.clients[client].is_static = is_static;
                }
                let token = self.token(client);
                let metadata = subscription(["t", "u"][usize::from(topics)]);
                let request = JoinRequest {
                    member_id: self.clients[client].member_id.as_str().into(),
                    instance_id: self.instance(client),
                    fresh_id: format!("{client}.{}", token.0).into(),
                    client_id: "c".into(),
                    client_host: "/h".into(),
                    session_timeout_ms: 10_000,
                    rebalance_timeout_ms: 5_000,
                    protocol_type: "consumer".into(),
                    protocols: vec![("range".into(), metadata)],
                    requires_known_id: version >= 4,
                    can_skip_assignment: version >= 9,
                };
                self.group.join(token, &request, now, &mut fx);
            }
            Event::Sync { client } => self.sync(client, &mut fx),
            Event::Beat { client } => {
                let _seen = self.group.heartbeat(&self.claim(client), now);
                let _seen = self.group.admit_commit(&self.claim(client), now);
            }
            Event::Leave { client } => {
                let MemberClaim { member_id, instance_id, .. } = self.claim(client);
                self.group.leave(&[LeaveMember { member_id, instance_id }], now, &mut fx);
            }
            Event::Forget { client } => self.clients[client] = Client::default(),
            Event::Wait { ms } => return self.wait(ms),
            Event::Written { outcome } => self.finish_write(outcome, &mut fx),
            Event::Failover => self.failover(&mut fx),
        }
        self.observe(fx);
    }

    fn sync(&mut self, client: usize, fx: &mut Effects) {
        let claim = self.claim(client);
        // Every sync of a leader assigns differently: only the first may count.
        self.serial += 1;
        let share = Bytes::from(self.serial.to_string());
        let roster = self.rosters.get(&claim.generation).cloned().unwrap_or_default();
        let assignments = roster.iter().map(|id| (Arc::from(id.as_str()), share.clone())).collect();
        let request = SyncRequest { claim, protocol_type: None, protocol: None, assignments };
        let token = self.token(client);
        let now = self.at();
        self.group.sync(token, request, now, fx);
    }

    /// 0: fails without effect; 1: outcome unknown but stored; else stored.
    fn finish_write(&mut self, outcome: u8, fx: &mut Effects) {
        let Some(Write { version, record }) = self.under_way.take() else { return };
        let failed = match outcome {
            0 => Some(StoreError::Unavailable),
            1 => Some(StoreError::Uncertain),
            _ => None,
        };
        if outcome > 0 {
            self.stored = Some(record);
        }
        let now = self.at();
        self.group.written(version, failed.map_or(Ok(()), Err), now, fx);
    }

    fn failover(&mut self, fx: &mut Effects) {
        // The write may or may not have reached the store.
        if let Some(write) = self.under_way.take().filter(|write| write.version % 2 == 0) {
            self.stored = Some(write.record);
        }
        let now = self.at();
        let next = match self.stored.clone() {
            Some(record) => ClassicGroup::load(record, self.options.clone(), now),
            None => ClassicGroup::new("g".into(), self.options.clone(), now.wall),
        };
        std::mem::replace(&mut self.group, next).abandon(now, fx);
    }

    fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        let mut ticks = 0;
        while let Some(wake) = self.group.wake().filter(|wake| wake.0 <= until) {
            self.now = self.now.max(wake.0);
            let mut fx = Effects::default();
            self.group.tick(self.at(), &mut fx);
            self.observe(fx);
            ticks += 1;
            assert!(ticks < 1_000, "the timer spins");
        }
        self.now = until;
    }

    fn observe(&mut self, fx: Effects) {
        if let Some(write) = fx.write {
            assert!(self.under_way.is_none(), "two writes at a time");
            self.under_way = Some(write);
        }
        for (token, answer) in fx.joins {
            let client = self.waiting.remove(&token).expect("answered once");
            match answer {
                Ok(answer) => {
                    assert!(answer.generation >= self.seen, "the generation went back");
                    self.seen = answer.generation;
                    let stored = self.stored.as_ref().expect("seen, so stored");
                    assert!(stored.generation >= answer.generation, "seen before it was stored");
                    let members: BTreeSet<String> =
                        answer.members.iter().map(|member| member.id.to_string()).collect();
                    if !members.is_empty() && !answer.skip_assignment {
                        self.rosters.insert(answer.generation, members);
                    }
                    let state = &mut self.clients[client];
                    state.member_id = answer.member_id.to_string();
                    state.generation = answer.generation;
                }
                Err(refusal) => {
                    let state = &mut self.clients[client];
                    match refusal.error.code() {
                        79 => state.member_id = refusal.member_id.to_string(),
                        25 | 82 => *state = Client::default(),
                        _ => {}
                    }
                }
            }
        }
        for (token, answer) in fx.syncs {
            let client = self.waiting.remove(&token).expect("answered once");
            let Ok(answer) = answer else { continue };
            let state = &self.clients[client];
            let key = (state.generation, state.member_id.clone());
            let first = self.shares.entry(key).or_insert_with(|| answer.assignment.clone());
            assert_eq!(*first, answer.assignment, "one share per member and generation");
            let stored = self.stored.as_ref().expect("seen, so stored");
            if stored.generation == state.generation {
                let member = stored.members.iter().find(|member| *member.id == *state.member_id);
                let share = member.map(|member| &member.assignment);
                assert_eq!(share, Some(&answer.assignment), "seen as it is stored");
            }
            self.assert_single_assignment(&answer.assignment);
        }
        self.assert_sound();
    }

    /// Shares carry the serial of the sync that made them: one per generation, or empty.
    fn assert_single_assignment(&self, share: &Bytes) {
        if share.is_empty() {
            return;
        }
        let generation = self.group.generation();
        let other = self
            .shares
            .iter()
            .find(|((g, _), other)| *g == generation && !other.is_empty() && *other != share);
        assert!(other.is_none(), "generation {generation} was assigned twice");
    }

    fn assert_sound(&self) {
        let group = &self.group;
        assert_eq!(group.members.is_empty(), group.leader.is_none());
        if let Some(leader) = &group.leader {
            assert!(group.members.contains_key(leader), "the leader is a member");
        }
        for (instance, id) in &group.instances {
            assert_eq!(group.members[id].instance_id.as_ref(), Some(instance));
        }
        let statics = group.members.values().filter(|member| member.instance_id.is_some());
        assert_eq!(statics.count(), group.instances.len());
        let waiting = group
            .members
            .values()
            .map(|member| {
                usize::from(member.joining.is_some()) + usize::from(member.syncing.is_some())
            })
            .sum::<usize>();
        assert_eq!(waiting, self.waiting.len(), "no request is lost");
    }
}

/// 500 sequences, or as many as `PROPTEST_CASES` says. A failing one is printed shrunk.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { config.cases } else { 500 };
    ProptestConfig { cases, failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn promises_hold(
        delay_ms in prop_oneof![Just(0_u32), Just(250)],
        events in proptest::collection::vec(event(), 1..120),
    ) {
        let mut world = World::new(delay_ms);
        for event in &events {
            world.act(event);
        }
        // Everybody falls silent and the store works: every request is answered in bounded time.
        for _ in 0..20 {
            world.act(&Event::Written { outcome: 2 });
            world.wait(300_000);
        }
        prop_assert!(world.waiting.is_empty(), "unanswered: {:?}", world.waiting);
        prop_assert!(world.group.members.is_empty(), "silent members expire");
    }
}
