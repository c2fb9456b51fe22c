//! What clients do during a run: producers that write, and a group member that reads along.
//!
//! The member sees records at the moment when they become readable, so that a value which is read
//! and later replaced shows as an inconsistent offset.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::session::TOPIC;
use crate::history::Recorder;
use crate::workload::{
    GroupConsumer, GroupOptions, Producer, ProducerKind, ProducerOptions, Progress, read_committed,
};

const GROUP: &str = "chaos-group";
const COMMIT_INTERVAL: Duration = Duration::from_millis(100);
/// After so long the outcome of a send is unknown: longer than any fault here lasts.
const SEND_TIMEOUT: Duration = Duration::from_secs(60);
/// Bound on waiting for the group: a join, and the client's own time-outs after a dead coordinator.
const GROUP_DEADLINE: Duration = Duration::from_secs(90);
/// The plain producer's share of the rate.
const PLAIN_SHARE: u32 = 10;

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

/// Who is at work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cast {
    /// A plain producer beside the idempotent one, and a group member.
    pub(super) full: bool,
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
        full: false,
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
    /// Both kinds of producers and a group member.
    pub(super) const FULL: Self = Self { full: true, ..Self::ONE_PRODUCER };
}

/// Of [`Cast::STEADY`].
pub(crate) const STEADY_RATE_PER_S: u32 = Cast::STEADY.partitions as u32 * 50;

/// The clients at work.
pub(super) struct Load {
    bootstrap: String,
    recorder: Arc<Recorder>,
    partitions: Vec<i32>,
    idempotent: Producer,
    plain: Option<Producer>,
    member: Option<GroupConsumer>,
}

impl Load {
    pub(super) fn start(
        cast: Cast,
        bootstrap: &str,
        rate_per_s: u32,
        recorder: &Arc<Recorder>,
    ) -> Result<Self> {
        let partitions: Vec<i32> = (0..cast.partitions).collect();
        let producer = |name: &str, kind, rate_per_s| {
            let options = ProducerOptions {
                bootstrap: bootstrap.to_owned(),
                topic: TOPIC.to_owned(),
                partitions: partitions.clone(),
                name: name.to_owned(),
                rate_per_s,
                kind,
                timeout: SEND_TIMEOUT,
                settings: owned(cast.producer),
            };
            Producer::start(options, recorder.clone())
        };
        let idempotent = producer("p0", ProducerKind::Idempotent, rate_per_s)?;
        let (mut plain, mut member) = (None, None);
        if cast.full {
            plain = Some(producer("p1", ProducerKind::Plain, rate_per_s / PLAIN_SHARE)?);
            let options = GroupOptions {
                bootstrap: bootstrap.to_owned(),
                topic: TOPIC.to_owned(),
                group: GROUP.to_owned(),
                name: "member".to_owned(),
                commit_interval: COMMIT_INTERVAL,
                settings: owned(cast.member),
            };
            member = Some(GroupConsumer::start(options, recorder.clone())?);
        }
        let bootstrap = bootstrap.to_owned();
        Ok(Self { bootstrap, recorder: recorder.clone(), partitions, idempotent, plain, member })
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
            TOPIC,
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
            self.member.map(GroupConsumer::finish),
        ];
        let errors = ends.into_iter().flatten().filter_map(Result::err);
        errors.map(|error| format!("{error:#}")).collect()
    }
}

fn owned(settings: Settings) -> Vec<(String, String)> {
    settings.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}
