//! A cluster under load, from its start to its report.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::load::{Cast, Crew, Load};
use super::report::READER;
use super::{Report, RunOptions, Screen};
use crate::checkers::Expectation;
use crate::cluster::{Cluster, ClusterOptions, Folder, NodeId, VerifiedPartition};
use crate::faults::{Draw, Entry, Fault};
use crate::history::{Event, History, Recorder, Replica};
use crate::page::page;
use crate::workload::{Witness, create_topic, read_all};

/// The topic that is written to.
pub(super) const TOPIC: &str = "chaos";
/// Replicas of each of its partitions.
const REPLICAS: i32 = 3;

/// Bound on waiting for an empty cluster.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// From the heal of a fault to all nodes ready, as a bound on waiting; the bar is the run's.
const READY_DEADLINE: Duration = Duration::from_secs(60);
/// Bound on waiting for writes to resume. Bars are held against the measured times afterwards.
const RESUME_DEADLINE: Duration = Duration::from_secs(60);
/// Bound on reading everything back.
const READ_DEADLINE: Duration = Duration::from_secs(120);
/// Bound on waiting for equal replicas.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(60);
/// How long a majority is missing, ms.
const WITHOUT_MAJORITY_MS: Range<u64> = 200..1500;
/// Between two requests of the witness to a node.
const ASKED_AGAIN: Duration = Duration::from_millis(100);
/// Acknowledged sends below which a run under load proves nothing: the quiet before one fault has more. One
/// without is judged by one for each round.
const ACKNOWLEDGED_MIN: usize = 500;
/// The same within each fault that a majority survives, in a run under load.
const ACKNOWLEDGED_IN_FAULT_MIN: u32 = 100;

/// A run in progress.
pub(super) struct Session<'a> {
    cluster: Cluster,
    recorder: Arc<Recorder>,
    rng: StdRng,
    screen: &'a Screen,
    options: RunOptions,
    repeat: String,
    partitions: Vec<i32>,
    /// None where the command itself writes.
    load: Option<Load>,
    /// Where everybody is at work.
    witness: Option<Witness>,
    start: Duration,
    ready_ms: Vec<f64>,
}

impl<'a> Session<'a> {
    /// Starts the nodes, makes the topic and puts the clients to work.
    pub(super) fn begin(
        name: &str,
        options: &RunOptions,
        cast: Cast,
        screen: &'a Screen,
    ) -> Result<Self> {
        let begun = Self::begin_idle(name, options, cast, screen)?.attempt(|session| {
            let bootstrap = session.cluster.bootstrap();
            let load = Load::start(cast, &bootstrap, TOPIC, options.rate_per_s, &session.recorder)?;
            load.progress().wait_every_partition(0, RESUME_DEADLINE)?;
            load.wait_commits(1)?;
            let (nodes, recorder) = (session.brokers(), &session.recorder);
            let witness = || Witness::start(nodes, TOPIC, cast.partitions, ASKED_AGAIN, recorder);
            Ok((load, (cast.crew == Crew::All).then(witness).transpose()?))
        });
        let (session, (load, witness)) = begun?;
        Ok(Self { load: Some(load), witness, ..session })
    }

    /// Starts the nodes and makes the topic; the command itself writes.
    pub(super) fn begin_idle(
        name: &str,
        options: &RunOptions,
        cast: Cast,
        screen: &'a Screen,
    ) -> Result<Self> {
        screen.doing(format!("starting {} nodes", options.nodes));
        let repeat = options.repeat(name);
        let folder = Folder::TemporaryIn(options.folder.clone());
        let mut cluster = ClusterOptions {
            folder,
            volume_mib: cast.volume_mib,
            hosts: cast.hosts,
            ..ClusterOptions::new(options.nodes, options.binary.clone())
        };
        for (key, value) in cast.nodes {
            cluster = cluster.set(key, value);
        }
        let mut cluster = Cluster::prepare(&cluster)?;
        let begun = Self::start(&mut cluster, options, cast, &repeat);
        let (recorder, start) = match begun {
            Ok(begun) => begun,
            Err(error) => return Err(kept(error, &mut cluster, &repeat)),
        };
        screen.done(format!("{} nodes ready after {:.0} ms", options.nodes, ms(start)));
        Ok(Self {
            cluster,
            recorder,
            rng: StdRng::seed_from_u64(options.seed),
            screen,
            options: options.clone(),
            repeat,
            partitions: (0..cast.partitions).collect(),
            load: None,
            witness: None,
            start,
            ready_ms: Vec::new(),
        })
    }

    fn start(
        cluster: &mut Cluster,
        options: &RunOptions,
        cast: Cast,
        repeat: &str,
    ) -> Result<(Arc<Recorder>, Duration)> {
        let begin = Instant::now();
        cluster.start_all()?;
        cluster.wait_ready(START_DEADLINE)?;
        let start = begin.elapsed();
        create_topic(&cluster.bootstrap(), TOPIC, cast.partitions, REPLICAS)?;
        cluster.wait_led(TOPIC, RESUME_DEADLINE)?;
        let path = cluster.folder().join("history.jsonl");
        let run = format!("r{}", options.seed);
        Ok((Arc::new(Recorder::create(&path, &run, options.seed, repeat)?), start))
    }

    /// Runs `steps`; whatever fails in it keeps the folder and names the command that repeats it.
    pub(super) fn attempt<T>(
        mut self,
        steps: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<(Self, T)> {
        match steps(&mut self) {
            Ok(value) => Ok((self, value)),
            Err(error) => Err(kept(error, &mut self.cluster, &self.repeat)),
        }
    }

    /// Quiet load, one fault, load meanwhile, the heal, and writes to every partition after it.
    pub(super) fn round(&mut self, fault: &mut dyn Fault) -> Result<()> {
        self.quiet()?;
        let (nodes, begun_us) = self.break_with(fault)?;
        if fault.majority_survives() {
            let absent = if fault.nodes_may_lead() { Vec::new() } else { nodes };
            self.resume_without(&absent, begun_us)?;
        } else {
            thread::sleep(Duration::from_millis(self.rng.random_range(WITHOUT_MAJORITY_MS)));
        }
        let healed_us = self.heal(fault, |_| Ok(()))?;
        self.load()?.progress().wait_every_partition(healed_us, RESUME_DEADLINE)?;
        self.committed()?;
        self.screen.doing("waiting for the group to commit");
        self.load()?.wait_commits(1)
    }

    /// Begins a fault; gives the nodes that were hit, and when, µs.
    pub(super) fn break_with(&mut self, fault: &mut dyn Fault) -> Result<(Vec<NodeId>, u64)> {
        self.screen.doing(fault.name());
        let at_us = self.recorder.now_us();
        let nodes = fault.begin(&mut self.cluster)?;
        let name = fault.name().to_owned();
        self.screen.done(format!("{name}: node(s) {nodes:?}"));
        self.recorder.record(&Event::FaultBegin {
            fault: name,
            nodes: nodes.clone(),
            majority: fault.majority_survives(),
            write_gap_max_us: Some(
                fault.write_gap_max().mul_f64(self.options.slack).as_micros() as u64
            ),
            at_us,
        });
        Ok((nodes, at_us))
    }

    /// Heals a fault, does something `at_once`, and waits until all nodes are ready; gives the time at which
    /// they are, µs.
    pub(super) fn heal(
        &mut self,
        fault: &mut dyn Fault,
        at_once: impl FnOnce(&mut Self) -> Result<()>,
    ) -> Result<u64> {
        fault.heal(&mut self.cluster)?;
        let begin = Instant::now();
        at_once(self)?;
        self.cluster.wait_ready(READY_DEADLINE)?;
        let ready = ms(begin.elapsed());
        self.ready_ms.push(ready);
        let at_us = self.recorder.now_us();
        self.recorder.record(&Event::FaultEnd { fault: fault.name().to_owned(), at_us });
        self.screen.done(format!("all nodes ready after {ready:.0} ms"));
        Ok(at_us)
    }

    /// Waits until every partition is led by others than `absent` and written to, and on for a while.
    fn resume_without(&mut self, absent: &[NodeId], since_us: u64) -> Result<()> {
        // Marked after the fault: only sends begun in the broken cluster show that it works.
        let mark_us = self.recorder.now_us();
        self.cluster.wait_led_without(absent, TOPIC, RESUME_DEADLINE)?;
        let led = (self.recorder.now_us() - since_us) / 1000;
        self.screen.done(format!("every partition has another leader after {led} ms"));
        self.load()?.progress().wait_every_partition(mark_us, RESUME_DEADLINE)?;
        let resumed = (self.recorder.now_us() - since_us) / 1000;
        self.screen.done(format!("every partition writes again after {resumed} ms"));
        self.quiet()
    }

    /// A round after the other, as many as were asked for, and load after the last.
    pub(super) fn rounds(&mut self, fault: &mut dyn Fault) -> Result<()> {
        for _ in 0..self.options.rounds {
            self.round(fault)?;
        }
        self.quiet()
    }

    /// Waits until nothing is under way in any partition, and for a time drawn from the seed after that, ms.
    pub(super) fn wait_idle(&mut self, ms: Range<u64>) -> Result<()> {
        self.screen.doing("idle");
        self.cluster.wait_caught_up(TOPIC, CATCH_UP_DEADLINE)?;
        thread::sleep(Duration::from_millis(self.rng.random_range(ms)));
        Ok(())
    }

    fn load(&self) -> Result<&Load> {
        self.load.as_ref().context("this run has no load")
    }

    fn committed(&self) -> Result<()> {
        self.screen.doing("reading committed offsets");
        if let Some(offsets) = self.load()?.committed()? {
            self.screen.done(format!("the group's committed offsets: {offsets:?}"));
        }
        Ok(())
    }

    /// Draws a fault.
    pub(super) fn draw(&mut self, entry: &Entry) -> Box<dyn Fault> {
        let (nodes, partitions) = (self.node_ids(), self.partitions.len() as i32);
        entry.draw(&mut Draw { rng: &mut self.rng, nodes, topic: TOPIC, partitions })
    }

    /// The nodes.
    pub(super) fn node_ids(&self) -> Vec<NodeId> {
        self.cluster.nodes().iter().map(|node| node.id).collect()
    }

    /// Where each node takes requests.
    pub(super) fn brokers(&self) -> Vec<(NodeId, SocketAddr)> {
        self.cluster.nodes().iter().map(|node| (node.id, node.ports.kafka)).collect()
    }

    /// Who leads a partition.
    pub(super) fn leader(&self, partition: i32) -> Result<NodeId> {
        let partitions = self.cluster.wait_led(TOPIC, RESUME_DEADLINE)?;
        let found = partitions.iter().find(|one| one.partition == partition);
        found.and_then(|one| one.leader).context("a leader was waited for")
    }

    /// What the run writes down.
    pub(super) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// What random choices are drawn from.
    pub(super) fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// The nodes' processes.
    pub(super) fn pids(&self) -> Vec<Option<u32>> {
        self.cluster.nodes().iter().map(|node| node.pid()).collect()
    }

    /// That many of the nodes, drawn from the seed.
    pub(super) fn pick_nodes(&mut self, count: usize) -> Vec<NodeId> {
        let ids = self.node_ids();
        let picked = rand::seq::index::sample(&mut self.rng, ids.len(), count);
        picked.into_iter().map(|at| ids[at]).collect()
    }

    /// Between half a second's and two seconds' worth of acknowledged sends, drawn from the seed.
    pub(super) fn quiet(&mut self) -> Result<()> {
        self.screen.doing("writing");
        let rate = self.options.rate_per_s;
        let few = (rate / 2).max(ACKNOWLEDGED_IN_FAULT_MIN);
        let more = self.rng.random_range(few..=few + rate * 3 / 2);
        self.load()?.progress().wait_acknowledged(more.into(), RESUME_DEADLINE)
    }

    /// Ends the load, reads everything back, checks, compares the replicas, and lets `bars` add what
    /// the command promises besides.
    pub(super) fn finish(self, bars: impl FnOnce(&mut Report)) -> Result<Report> {
        let Self { mut cluster, recorder, screen, options, partitions, load, witness, .. } = self;
        let (repeat, start, ready_ms, steady) =
            (self.repeat, self.start, self.ready_ms, load.is_some());
        let judged = judge(&mut cluster, &recorder, &partitions, (load, witness), screen);
        let judged = judged.map_err(|error| kept(error, &mut cluster, &repeat))?;
        let expected = if steady {
            let acknowledged_in_fault_min = ACKNOWLEDGED_IN_FAULT_MIN as usize;
            Expectation { acknowledged_min: ACKNOWLEDGED_MIN, acknowledged_in_fault_min }
        } else {
            Expectation { acknowledged_min: options.rounds as usize, acknowledged_in_fault_min: 0 }
        };
        let mut report = Report {
            start_ms: Some(ms(start)),
            rebalances: judged.rebalances,
            ready_ms,
            catch_up_ms: judged.catch_up.map(ms),
            missed: judged.missed,
            ..Report::of(&judged.history, steady, expected)
        };
        bars(&mut report);
        report.passed = report.findings.is_empty() && report.missed.is_empty();
        if options.keep || !report.passed {
            report.folder = Some(cluster.keep().to_owned());
        }
        if let Some(path) = &options.page {
            fs::write(path, page(&report, &judged.history))
                .with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(report)
    }
}

struct Judged {
    history: History,
    rebalances: Option<u64>,
    catch_up: Option<Duration>,
    missed: Vec<String>,
}

/// What goes wrong here is kept beside what the checkers find, since one often explains the other.
fn judge(
    cluster: &mut Cluster,
    recorder: &Recorder,
    partitions: &[i32],
    (load, witness): (Option<Load>, Option<Witness>),
    screen: &Screen,
) -> Result<Judged> {
    screen.doing("waiting for outstanding acknowledgements");
    let rebalances = load.as_ref().and_then(Load::rebalances);
    let mut missed = load.map(Load::finish).unwrap_or_default();
    witness.map_or(Ok(()), Witness::finish)?;
    screen.doing("waiting for the replicas to catch up");
    let catch_up = cluster.wait_caught_up(TOPIC, CATCH_UP_DEADLINE);
    let catch_up = catch_up.map_err(|error| missed.push(format!("{error:#}"))).ok();
    screen.doing("reading everything back");
    let read = read_all(&cluster.bootstrap(), TOPIC, partitions, READER, recorder, READ_DEADLINE)?;
    screen.done(format!("read {} records back", read.records));
    screen.doing("comparing replicas");
    match cluster.stop_and_verify(TOPIC) {
        Ok(found) => record_replicas(&found, recorder),
        Err(error) => missed.push(format!("{error:#}")),
    }
    let history = recorder.finish()?;
    Ok(Judged { history, rebalances, catch_up, missed })
}

fn record_replicas(found: &BTreeMap<NodeId, Vec<VerifiedPartition>>, recorder: &Recorder) {
    for (node, partitions) in found {
        for one in partitions {
            let topic = one.topic.as_ref().unwrap_or(&one.topic_id);
            recorder.record(&Event::Replica(Replica {
                node: *node,
                name: format!("{topic}-{}", one.partition),
                start: one.start_offset,
                end: one.committed_offset,
                records: one.records,
                hash: one.hash.clone(),
            }));
        }
    }
}

/// Where runs make their folders unless told otherwise: `target/chaos` in a source tree, else the
/// system's folder for temporary files.
pub(crate) fn default_folder() -> PathBuf {
    if fs::metadata("target").is_ok_and(|target| target.is_dir()) {
        return PathBuf::from("target/chaos");
    }
    std::env::temp_dir()
}

fn kept(error: anyhow::Error, cluster: &mut Cluster, repeat: &str) -> anyhow::Error {
    let folder = cluster.keep().display().to_string();
    Err::<(), _>(error)
        .with_context(|| format!("kept: {folder}; repeat with: {repeat}"))
        .expect_err("an error stays one")
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
