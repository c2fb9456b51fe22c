//! A member of a consumer group that commits what it has polled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rdkafka::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::client_config;
use super::plain_consumer::record_poll;
use crate::history::{Commit, Committed, Event, Recorder};

const POLL: Duration = Duration::from_millis(100);
/// One request for committed offsets; [`ask_until`] has the deadline.
const COMMITTED_TIMEOUT: Duration = Duration::from_secs(5);

type Member = BaseConsumer<Given>;

/// What to consume.
#[derive(Clone, Debug)]
pub struct GroupOptions {
    /// Brokers to ask first.
    pub bootstrap: String,
    /// Topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// Names the member in the history.
    pub name: String,
    /// Pause between commits.
    pub commit_interval: Duration,
    /// Further settings of librdkafka.
    pub settings: Vec<(String, String)>,
}

/// A group member at work in its own thread.
#[derive(Debug)]
pub struct GroupConsumer {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Counts {
    polled: AtomicU64,
    commits: AtomicU64,
    rebalances: AtomicU64,
}

/// Counts what the member is given.
struct Given(Arc<Counts>);

impl ClientContext for Given {
    fn error(&self, _error: KafkaError, _reason: &str) {
        // Lost connections are what a run is about.
    }
}

impl ConsumerContext for Given {
    fn post_rebalance(&self, _client: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.0.rebalances.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl GroupConsumer {
    /// Joins the group (`subscribe`) and begins to poll and commit. The group has begun ([`begin_group`]): a member
    /// that finds no committed offset, or is told that there is none, breaks down.
    ///
    /// # Errors
    /// The client refuses the options.
    pub fn start(options: GroupOptions, recorder: Arc<Recorder>) -> Result<Self> {
        let mut config = client_config(&options.bootstrap);
        config
            .set("group.id", &options.group)
            .set("enable.auto.commit", "false")
            // A reset would hide a missing offset.
            .set("auto.offset.reset", "error")
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "500")
            .set("fetch.wait.max.ms", "100");
        for (key, value) in &options.settings {
            config.set(key, value);
        }
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let client: Member =
            config.create_with_context(Given(counts.clone())).context("making a group member")?;
        client.subscribe(&[&options.topic])?;
        let (stopped, counted) = (stop.clone(), counts.clone());
        let thread = thread::Builder::new()
            .name(format!("group member {}", options.name))
            .spawn(move || consume_until(&stopped, &counted, &client, &options, &recorder))?;
        Ok(Self { stop, counts, thread: Some(thread) })
    }

    /// Records polled so far.
    #[must_use]
    pub fn polled(&self) -> u64 {
        self.counts.polled.load(Ordering::Relaxed)
    }

    /// How often it was given partitions: once, unless the group had to rebalance.
    #[must_use]
    pub fn rebalances(&self) -> u64 {
        self.counts.rebalances.load(Ordering::Relaxed)
    }

    /// Commits acknowledged so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.counts.commits.load(Ordering::Relaxed)
    }

    /// Waits until `more` further commits are acknowledged.
    ///
    /// # Errors
    /// The deadline passes.
    pub fn wait_commits(&self, more: u64, deadline: Duration) -> Result<()> {
        let (begin, goal) = (Instant::now(), self.commits() + more);
        while self.commits() < goal {
            if begin.elapsed() > deadline {
                bail!("the group committed nothing for {deadline:?}");
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Leaves the group.
    ///
    /// # Errors
    /// The client broke down.
    pub fn finish(mut self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("only finish takes it");
        thread.join().map_err(|_| anyhow!("a group member's thread panicked"))?
    }
}

impl Drop for GroupConsumer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn consume_until(
    stop: &AtomicBool,
    counts: &Counts,
    client: &Member,
    options: &GroupOptions,
    recorder: &Recorder,
) -> Result<()> {
    let mut next = BTreeMap::<i32, i64>::new();
    let mut committed_at = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match client.poll(POLL) {
            None => {}
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                bail!("a group member broke down: {code}");
            }
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                bail!(
                    "a group member finds no offset to go on from, though there are committed ones"
                );
            }
            // Lost connections and coordinators are what a run is about.
            Some(Err(_)) => {}
            Some(Ok(message)) => {
                counts.polled.fetch_add(1, Ordering::Relaxed);
                let assignment = counts.rebalances.load(Ordering::Relaxed);
                record_poll(recorder, &options.name, assignment, &message);
                next.insert(message.partition(), message.offset() + 1);
            }
        }
        if committed_at.elapsed() >= options.commit_interval && !next.is_empty() {
            commit(client, options, recorder, counts, std::mem::take(&mut next))?;
            committed_at = Instant::now();
        }
    }
    Ok(())
}

/// Commits and waits; an error leaves the outcome open, so nothing is recorded.
fn commit(
    client: &Member,
    options: &GroupOptions,
    recorder: &Recorder,
    counts: &Counts,
    next: BTreeMap<i32, i64>,
) -> Result<()> {
    // Only what is still assigned: after a rebalance the rest belongs to another member.
    let assigned = client.assignment()?;
    let mut offsets = TopicPartitionList::new();
    for (partition, offset) in &next {
        if assigned.find_partition(&options.topic, *partition).is_some() {
            offsets.add_partition_offset(&options.topic, *partition, Offset::Offset(*offset))?;
        }
    }
    let begin_us = recorder.now_us();
    if offsets.count() == 0 || client.commit(&offsets, CommitMode::Sync).is_err() {
        return Ok(());
    }
    let end_us = recorder.now_us();
    for element in offsets.elements() {
        let Offset::Offset(offset) = element.offset() else { continue };
        recorder.record(&Event::Commit(Commit {
            group: options.group.clone(),
            member: options.name.clone(),
            assignment: counts.rebalances.load(Ordering::Relaxed),
            partition: element.partition(),
            offset,
            begin_us,
            end_us,
        }));
    }
    counts.commits.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// Commits offset 0 of each of `partitions` for a group that has no members yet, so that no member ever asks for the
/// beginning of a partition: librdkafka (2.12 to 2.16) may ask for it once more, half a second after the leader has
/// changed meanwhile, and then reads from there although the member was given partitions, and their offsets, anew.
///
/// # Errors
/// No coordinator takes them by the deadline.
pub fn begin_group(
    bootstrap: &str,
    topic: &str,
    group: &str,
    partitions: &[i32],
    deadline: Duration,
) -> Result<()> {
    let mut offsets = TopicPartitionList::new();
    for partition in partitions {
        offsets.add_partition_offset(topic, *partition, Offset::Offset(0))?;
    }
    ask_until(bootstrap, group, deadline, |client| client.commit(&offsets, CommitMode::Sync))
        .with_context(|| format!("committing where group {group} begins"))
}

/// Asks for a group's committed offsets and records the answer; partitions without one have −1.
///
/// # Errors
/// No coordinator answers by the deadline.
pub fn read_committed(
    bootstrap: &str,
    topic: &str,
    group: &str,
    partitions: &[i32],
    recorder: &Recorder,
    deadline: Duration,
) -> Result<BTreeMap<i32, i64>> {
    let mut asked = TopicPartitionList::new();
    for partition in partitions {
        asked.add_partition(topic, *partition);
    }
    let (begin_us, answer) = ask_until(bootstrap, group, deadline, |client| {
        let begin_us = recorder.now_us();
        let answer = client.committed_offsets(asked.clone(), COMMITTED_TIMEOUT)?;
        Ok((begin_us, answer))
    })
    .with_context(|| format!("asking for offsets of group {group}"))?;
    let mut found = BTreeMap::new();
    for element in answer.elements() {
        element.error().with_context(|| format!("offset of partition {}", element.partition()))?;
        let offset = if let Offset::Offset(offset) = element.offset() { offset } else { -1 };
        found.insert(element.partition(), offset);
        recorder.record(&Event::Committed(Committed {
            group: group.to_owned(),
            partition: element.partition(),
            offset,
            begin_us,
        }));
    }
    Ok(found)
}

/// Asks the group's coordinator as one that is no member, again and again until it answers.
fn ask_until<T>(
    bootstrap: &str,
    group: &str,
    deadline: Duration,
    question: impl Fn(&BaseConsumer) -> KafkaResult<T>,
) -> Result<T> {
    let client: BaseConsumer =
        client_config(bootstrap).set("group.id", group).create().context("making a consumer")?;
    let begin = Instant::now();
    loop {
        match question(&client) {
            Ok(answer) => return Ok(answer),
            Err(error) if begin.elapsed() > deadline => return Err(error.into()),
            Err(_) => {
                client.poll(POLL);
            }
        }
    }
}
