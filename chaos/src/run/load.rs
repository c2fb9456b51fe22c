//! What clients do during a run: producers that write, and consumers that read along.
//!
//! A group's member sees records at the moment when they become readable, so that a value which is read
//! and later replaced shows as an inconsistent offset.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::history::Recorder;
use crate::workload::{
    Churn, GroupConsumer, GroupOptions, Producer, ProducerKind, ProducerOptions, Progress, Routing,
    Tail, begin_group, read_committed,
};

const GROUP: &str = "chaos-group";
/// The group whose members come and go.
const CHURN_GROUP: &str = "chaos-churn";
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// After so long the outcome of a send is unknown: longer than any fault here lasts.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Bound on waiting for the group: a join, and the client's own time-outs after a dead coordinator.
const GROUP_DEADLINE: Duration = Duration::from_secs(90);
/// The share of the rate of each producer beside the first.
const OTHERS_SHARE: u32 = 10;

/// Settings of librdkafka that differ from its own.
type Settings = &'static [(&'static str, &'static str)];

/// What a producer is set to where a node goes silent with its connections open.
///
/// * An acknowledgement takes milliseconds, so half a second is long enough for a request, where librdkafka
///   waits for a minute. (It looks at its time-outs once a second. Java's producer has `request.timeout.ms` for
///   it.)
/// * It takes up to a second before it connects to a node that led nothing until then, unless it keeps
///   connections to all.
///
/// `topic.metadata.refresh.interval.ms` stays as it is: librdkafka 2.12 that hears of new leaders, and no more
/// of the silent node, while its requests to that node are open takes them for not written, and writes them
/// again under a new producer epoch, which no broker can recognise.
pub(super) const IMPATIENT: Settings =
    &[("socket.timeout.ms", "500"), ("enable.sparse.connections", "false")];

/// The same for a run of many faults, where requests also fail one after the other.
///
/// * With several requests under way to a broker, librdkafka 2.12 answers OUT_OF_ORDER_SEQUENCE_NUMBER for the
///   second, which only says that the first has failed, with a new producer epoch, and sends again under it what
///   may have been written under the old one (its issue 4953). So there is one at a time.
/// * The others then wait for their turn, and that time counts.
const PATIENT: Settings = &[
    ("socket.timeout.ms", "2000"),
    ("enable.sparse.connections", "false"),
    ("max.in.flight.requests.per.connection", "1"),
];

/// Which clients are at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Crew {
    /// One idempotent producer.
    Producer,
    /// A plain one beside it, and a group's member.
    Few,
    /// Also a producer whose records go where their keys say, a consumer without a group, and a group whose
    /// members come and go.
    All,
}

/// Who is at work, on what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    /// The clients.
    pub(super) crew: Crew,
    /// Of producers.
    pub(super) producer: Settings,
    /// Of the group's member.
    pub(super) member: Settings,
    /// Size of the volume that each node's data gets for itself.
    pub(super) volume_mib: Option<u64>,
    /// Whether each node is on a host of its own.
    pub(super) hosts: bool,
    /// Keys of the nodes' configuration.
    pub(super) nodes: &'static [(&'static str, &'static str)],
    /// Partitions that are written to.
    pub(super) partitions: i32,
}

impl Cast {
    /// One idempotent producer.
    pub(super) const ONE_PRODUCER: Self = Self {
        crew: Crew::Producer,
        producer: &[],
        member: &[],
        volume_mib: None,
        hosts: false,
        nodes: &[],
        partitions: 6,
    };
    /// One that writes to each of 12 partitions every 20 ms, at [`STEADY_RATE_PER_S`]: for the measuring of
    /// write gaps.
    pub(super) const STEADY: Self = Self { partitions: 12, ..Self::ONE_PRODUCER };
    /// Everybody, ready for nodes that fall silent.
    pub(super) const ALL: Self = Self {
        crew: Crew::All,
        producer: PATIENT,
        member: &[("socket.timeout.ms", "2000")],
        ..Self::STEADY
    };
    /// Both kinds of producers and a group member.
    pub(super) const FULL: Self = Self { crew: Crew::Few, ..Self::ONE_PRODUCER };
}

/// Of [`Cast::STEADY`].
pub(crate) const STEADY_RATE_PER_S: u32 = Cast::STEADY.partitions as u32 * 50;

/// The clients at work.
pub(super) struct Load {
    bootstrap: String,
    topic: String,
    recorder: Arc<Recorder>,
    partitions: Vec<i32>,
    idempotent: Producer,
    plain: Option<Producer>,
    keyed: Option<Producer>,
    member: Option<GroupConsumer>,
    tail: Option<Tail>,
    churn: Option<Churn>,
}

impl Load {
    /// Puts the clients to work on `topic`.
    pub(super) fn start(
        cast: Cast,
        bootstrap: &str,
        topic: &str,
        rate_per_s: u32,
        recorder: &Arc<Recorder>,
    ) -> Result<Self> {
        let partitions: Vec<i32> = (0..cast.partitions).collect();
        let producer = |name: &str, kind, routing, rate_per_s| {
            let options = ProducerOptions {
                bootstrap: bootstrap.to_owned(),
                topic: topic.to_owned(),
                partitions: partitions.clone(),
                routing,
                name: name.to_owned(),
                rate_per_s,
                kind,
                timeout: SEND_TIMEOUT,
                settings: owned(cast.producer),
            };
            Producer::start(options, recorder.clone())
        };
        let group = |group: &str, name: &str| {
            begin_group(bootstrap, topic, group, &partitions, GROUP_DEADLINE)?;
            anyhow::Ok(GroupOptions {
                bootstrap: bootstrap.to_owned(),
                topic: topic.to_owned(),
                group: group.to_owned(),
                name: name.to_owned(),
                commit_interval: COMMIT_INTERVAL,
                settings: owned(cast.member),
            })
        };
        let (idempotent, others) = (ProducerKind::Idempotent, rate_per_s / OTHERS_SHARE);
        let mut load = Self {
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            recorder: recorder.clone(),
            partitions: partitions.clone(),
            idempotent: producer("p0", idempotent, Routing::InTurn, rate_per_s)?,
            plain: None,
            keyed: None,
            member: None,
            tail: None,
            churn: None,
        };
        if cast.crew >= Crew::Few {
            load.plain = Some(producer("p1", ProducerKind::Plain, Routing::InTurn, others)?);
            load.member = Some(GroupConsumer::start(group(GROUP, "member")?, recorder.clone())?);
        }
        if cast.crew >= Crew::All {
            load.keyed = Some(producer("p2", idempotent, Routing::ByKey, others)?);
            load.tail = Some(Tail::start(bootstrap, topic, &partitions, "tail", recorder)?);
            load.churn = Some(Churn::start(&group(CHURN_GROUP, "churn")?, recorder)?);
        }
        Ok(load)
    }

    /// How far the idempotent producer has come.
    pub(super) fn progress(&self) -> &Progress {
        self.idempotent.progress()
    }

    /// How often the group's member was given partitions; none if there is no group.
    pub(super) fn rebalances(&self) -> Option<u64> {
        self.member.as_ref().map(GroupConsumer::rebalances)
    }

    /// Waits until the group, if there is one, has committed anew.
    pub(super) fn wait_commits(&self, more: u64) -> Result<()> {
        match &self.member {
            Some(member) => member.wait_commits(more, GROUP_DEADLINE),
            None => Ok(()),
        }
    }

    /// Reads the group's committed offsets back, for the checker that compares them with what was
    /// acknowledged; none if there is no group.
    pub(super) fn committed(&self) -> Result<Option<Vec<i64>>> {
        if self.member.is_none() {
            return Ok(None);
        }
        let found = read_committed(
            &self.bootstrap,
            &self.topic,
            GROUP,
            &self.partitions,
            &self.recorder,
            GROUP_DEADLINE,
        )?;
        Ok(Some(found.into_values().collect()))
    }

    /// Ends the work; gives a sentence for each client that broke down.
    pub(super) fn finish(self) -> Vec<String> {
        let ends = [
            Some(self.idempotent.finish()),
            self.plain.map(Producer::finish),
            self.keyed.map(Producer::finish),
            self.member.map(GroupConsumer::finish),
            self.tail.map(Tail::finish),
            self.churn.map(Churn::finish),
        ];
        let errors = ends.into_iter().flatten().filter_map(Result::err);
        errors.map(|error| format!("{error:#}")).collect()
    }
}

fn owned(settings: Settings) -> Vec<(String, String)> {
    settings.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}
