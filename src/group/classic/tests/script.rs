//! Runs a script of client actions against one group and writes down what the clients see.
//!
//! ```text
//! join NAME [static=ID] [v=N] [topics=a,b] [protocols=range,sticky] [type=T] [session=MS] [rebalance=MS]
//! sync NAME [NAME:SHARE …]     beat NAME     commit NAME     leave NAME …     remove INSTANCE …
//! forget NAME (its process restarts)    wait MS    hold | release | fail (writes)    failover    show
//! ```
//!
//! A NAME is a client process; it remembers the member id and generation that it was given. Writes
//! succeed at once unless held.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use expect_test::Expect;

use super::super::super::{
    GroupError, GroupOptions, GroupRecord, JoinRequest, LeaveMember, MemberClaim, Now, StoreError,
    SyncRequest, Tick,
};
use super::super::{ClassicGroup, Effects, Token, Write};
use crate::model::Timestamp;

/// Three members in generation 2, assigned.
const THREE: &str = "
    join a v=3
    join b v=3
    join c v=3
    join a
    sync a a:0 b:1 c:2
    sync b
    sync c
";

/// A script that goes on with three members: `a`, which leads, `b` and `c`.
pub(super) fn after_three(script: &str) -> String {
    format!("{THREE}{script}")
}

#[derive(Clone, Default)]
struct Client {
    member_id: String,
    generation: i32,
    instance: Option<String>,
    options: BTreeMap<String, String>,
}

struct Script {
    group: ClassicGroup,
    options: Arc<GroupOptions>,
    now: u64,
    clients: BTreeMap<String, Client>,
    tokens: BTreeMap<Token, String>,
    next_token: u64,
    stored: Option<GroupRecord>,
    under_way: Option<Write>,
    holds: bool,
    log: String,
}

/// Runs `script` and compares the log of what happened.
pub(super) fn check_with(options: GroupOptions, script: &str, expect: &Expect) {
    let options = Arc::new(options);
    let group = ClassicGroup::new("g".into(), options.clone(), Timestamp(0));
    let mut run = Script {
        group,
        options,
        now: 0,
        clients: BTreeMap::new(),
        tokens: BTreeMap::new(),
        next_token: 0,
        stored: None,
        under_way: None,
        holds: false,
        log: String::new(),
    };
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        writeln!(run.log, "> {line}").unwrap();
        run.step(line);
    }
    expect.assert_eq(&run.log);
}

/// As [`check_with`], without an initial delay.
pub(super) fn check(script: &str, expect: &Expect) {
    let options = GroupOptions { initial_rebalance_delay_ms: 0, ..GroupOptions::default() };
    check_with(options, script, expect);
}

impl Script {
    fn step(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let (verb, rest) = (words.next().unwrap(), words.collect::<Vec<_>>());
        let now = self.at();
        let mut fx = Effects::default();
        match verb {
            "join" => self.join(rest[0], &rest[1..], &mut fx),
            "sync" => self.sync(rest[0], &rest[1..], &mut fx),
            "beat" => {
                let outcome = self.group.heartbeat(&self.claim(rest[0]), now);
                self.note(rest[0], outcome);
            }
            "commit" => {
                let outcome = self.group.admit_commit(&self.claim(rest[0]), now);
                self.note(rest[0], outcome);
            }
            "leave" | "remove" => self.leave(verb, &rest, &mut fx),
            "forget" => {
                let client = self.clients.get_mut(rest[0]).unwrap();
                client.member_id.clear();
                client.generation = 0;
            }
            "wait" => return self.wait(rest[0].parse().unwrap()),
            "hold" => self.holds = true,
            "release" | "fail" => {
                self.holds = false;
                let write = self.under_way.take().unwrap();
                let failed = (verb == "fail").then_some(StoreError::Uncertain);
                self.finish_write(write, failed, &mut fx);
            }
            "failover" => self.failover(&mut fx),
            "show" => self.show(),
            other => panic!("no verb {other}"),
        }
        self.carry_out(fx);
    }

    fn at(&self) -> Now {
        Now { tick: Tick(self.now), wall: Timestamp(self.now as i64) }
    }

    fn token(&mut self, name: &str) -> Token {
        self.next_token += 1;
        let token = Token(self.next_token);
        self.tokens.insert(token, name.to_owned());
        token
    }

    fn claim(&self, name: &str) -> MemberClaim {
        let client = self
            .clients
            .get(name)
            .cloned()
            .unwrap_or(Client { generation: -1, ..Client::default() });
        MemberClaim {
            member_id: client.member_id.as_str().into(),
            instance_id: client.instance.as_deref().map(Arc::from),
            generation: client.generation,
        }
    }

    fn join(&mut self, name: &str, words: &[&str], fx: &mut Effects) {
        let client = self.clients.entry(name.to_owned()).or_default();
        for word in words {
            let (key, value) = word.split_once('=').unwrap();
            client.options.insert(key.to_owned(), value.to_owned());
        }
        let client = client.clone();
        let option = |key: &str, default: &str| {
            client.options.get(key).cloned().unwrap_or_else(|| default.to_owned())
        };
        let topics = option("topics", "t");
        let protocols = option("protocols", "range");
        let version: i16 = option("v", "9").parse().unwrap();
        let instance = client.options.get("static").cloned();
        self.clients.get_mut(name).unwrap().instance = instance.clone();
        let token = self.token(name);
        let request = JoinRequest {
            member_id: client.member_id.as_str().into(),
            instance_id: instance.as_deref().map(Arc::from),
            fresh_id: format!("{name}.{}", token.0).into(),
            client_id: name.into(),
            client_host: "/127.0.0.1".into(),
            session_timeout_ms: option("session", "10000").parse().unwrap(),
            rebalance_timeout_ms: option("rebalance", "60000").parse().unwrap(),
            protocol_type: option("type", "consumer").as_str().into(),
            protocols: protocols
                .split(',')
                .map(|protocol| (protocol.into(), subscription(&topics)))
                .collect(),
            requires_known_id: version >= 4,
            can_skip_assignment: version >= 9,
        };
        let now = self.at();
        self.group.join(token, &request, now, fx);
    }

    fn sync(&mut self, name: &str, shares: &[&str], fx: &mut Effects) {
        let share = |word: &&str| {
            let (name, share) = word.split_once(':').unwrap();
            let id = self.clients[name].member_id.as_str();
            (Arc::from(id), Bytes::copy_from_slice(share.as_bytes()))
        };
        let assignments = shares.iter().map(share).collect();
        let claim = self.claim(name);
        let request = SyncRequest { claim, protocol_type: None, protocol: None, assignments };
        let token = self.token(name);
        let now = self.at();
        self.group.sync(token, request, now, fx);
    }

    fn leave(&mut self, verb: &str, names: &[&str], fx: &mut Effects) {
        let leaver = |name: &&str| match verb {
            "remove" => LeaveMember { member_id: "".into(), instance_id: Some(Arc::from(*name)) },
            _ => {
                let MemberClaim { member_id, instance_id, .. } = self.claim(name);
                LeaveMember { member_id, instance_id }
            }
        };
        let leavers: Vec<_> = names.iter().map(leaver).collect();
        let now = self.at();
        let outcomes = self.group.leave(&leavers, now, fx);
        for (name, outcome) in names.iter().zip(outcomes) {
            self.note(name, outcome);
        }
    }

    /// Moves time on, from deadline to deadline.
    fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(wake) = self.group.wake().filter(|wake| wake.0 <= until) {
            self.now = self.now.max(wake.0);
            let mut fx = Effects::default();
            self.group.tick(self.at(), &mut fx);
            self.carry_out(fx);
        }
        self.now = until;
    }

    fn failover(&mut self, fx: &mut Effects) {
        let options = self.options.clone();
        let now = self.at();
        let next = match self.stored.clone() {
            Some(record) => ClassicGroup::load(record, options, now),
            None => ClassicGroup::new("g".into(), options, now.wall),
        };
        std::mem::replace(&mut self.group, next).abandon(now, fx);
        self.under_way = None;
        self.holds = false;
    }

    fn carry_out(&mut self, mut fx: Effects) {
        loop {
            self.note_answers(&mut fx);
            let Some(write) = fx.write.take() else { return };
            if self.holds {
                writeln!(self.log, "  writing generation {}", write.record.generation).unwrap();
                self.under_way = Some(write);
                return;
            }
            self.finish_write(write, None, &mut fx);
        }
    }

    fn finish_write(&mut self, write: Write, failed: Option<StoreError>, fx: &mut Effects) {
        let Write { version, record } = write;
        let outcome = match failed {
            Some(error) => {
                writeln!(self.log, "  failed to store: {error}").unwrap();
                Err(error)
            }
            None => {
                let kind = if record.assigned { "assigned" } else { "begun" };
                let kind = if record.members.is_empty() { "empty" } else { kind };
                writeln!(self.log, "  stored generation {} {kind}", record.generation).unwrap();
                self.stored = Some(record);
                Ok(())
            }
        };
        let now = self.at();
        self.group.written(version, outcome, now, fx);
    }

    fn note_answers(&mut self, fx: &mut Effects) {
        fx.joins.sort_by_key(|(token, _)| *token);
        fx.syncs.sort_by_key(|(token, _)| *token);
        for (token, answer) in fx.joins.drain(..) {
            let name = self.tokens.remove(&token).expect("answered twice");
            let client = self.clients.get_mut(&name).unwrap();
            match answer {
                Ok(answer) => {
                    client.member_id = answer.member_id.to_string();
                    client.generation = answer.generation;
                    let members: Vec<_> = answer.members.iter().map(|member| &*member.id).collect();
                    writeln!(
                        self.log,
                        "  {name}: joined as {} in generation {}, {} led by {}{}{}",
                        answer.member_id,
                        answer.generation,
                        answer.protocol.as_deref().unwrap_or("-"),
                        answer.leader,
                        if members.is_empty() { "" } else { ", members " },
                        members.join(" "),
                    )
                    .unwrap();
                    if answer.skip_assignment {
                        writeln!(self.log, "  {name}: shall skip the assignment").unwrap();
                    }
                }
                Err(refusal) => {
                    if refusal.error == GroupError::MemberIdRequired {
                        client.member_id = refusal.member_id.to_string();
                    }
                    self.note(&name, Err(refusal.error));
                }
            }
        }
        for (token, answer) in fx.syncs.drain(..) {
            let name = self.tokens.remove(&token).expect("answered twice");
            match answer {
                Ok(answer) => {
                    let share = String::from_utf8_lossy(&answer.assignment).into_owned();
                    writeln!(self.log, "  {name}: has \"{share}\"").unwrap();
                }
                Err(error) => self.note(&name, Err(error)),
            }
        }
    }

    fn note(&mut self, name: &str, outcome: Result<(), GroupError>) {
        match outcome {
            Ok(()) => writeln!(self.log, "  {name}: ok"),
            Err(error) => writeln!(self.log, "  {name}: {} {error:?}", error.code()),
        }
        .unwrap();
    }

    fn show(&mut self) {
        let summary = self.group.summary();
        let members: Vec<_> = summary.members.iter().map(|member| &*member.id).collect();
        let waiting: Vec<_> = self.tokens.values().map(String::as_str).collect();
        writeln!(
            self.log,
            "  {} generation {}, members [{}], waiting [{}]",
            summary.listing.state,
            summary.generation,
            members.join(" "),
            waiting.join(" "),
        )
        .unwrap();
    }
}

/// A consumer's subscription to these topics, comma-separated.
pub(super) fn subscription(topics: &str) -> Bytes {
    let topics: Vec<&str> = topics.split(',').collect();
    let mut bytes = vec![0, 3];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    Bytes::from(bytes)
}
