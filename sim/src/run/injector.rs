//! Breaks and mends, at times and in ways that the seed draws.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use jackdaw_chaos::history::Event;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use turmoil::Sim;

use super::{CLIENTS, Machine};
use crate::clock;
use crate::disk::{Loss, Volume};
use crate::net::Cuts;
use crate::setup::Setup;
use crate::workload::Ledger;

/// The first fault, and when all is mended, ms.
const BEGIN: u64 = 5_000;
const HEAL: u64 = 34_000;
/// How far a wall clock is off at most, ms.
const CLOCK_JUMP_MS_MAX: i64 = 3_600_000;
/// How long a write may wait once all is mended, µs.
const WRITE_GAP_MAX_US: u64 = 5_000_000;

/// What is broken and will be mended.
#[derive(Clone, Debug)]
enum Fault {
    /// A node is down; with its links, if the power failed.
    Down { node: usize, links: Vec<Link> },
    /// Messages are lost on these links, in both directions or from the first to the second.
    Cut { links: Vec<Link>, one_way: bool },
    /// Messages wait on these links.
    Held { links: Vec<Link> },
}

type Link = (String, String);

/// A crash that is to come, by ticks.
struct Fall {
    node: usize,
    loss: Loss,
    at: u64,
    until: u64,
}

/// See the file's head.
pub(super) struct Injector {
    random: SmallRng,
    hosts: Vec<String>,
    volumes: Vec<Arc<Volume>>,
    cuts: Arc<Cuts>,
    has_faults: bool,
    next: u64,
    /// Nodes that are about to fall.
    falls: Vec<Fall>,
    /// What is broken, with the tick at which it is mended.
    open: Vec<(u64, Fault)>,
    down: BTreeSet<usize>,
    /// Links with a fault: one at a time.
    used: BTreeSet<Link>,
    count: u64,
    is_healed: bool,
}

impl Injector {
    pub(super) fn new(setup: &Setup, machines: &[Machine], cuts: &Arc<Cuts>) -> Self {
        Self {
            random: SmallRng::seed_from_u64(setup.seed ^ 0xfa17),
            hosts: machines.iter().map(|machine| machine.host.clone()).collect(),
            volumes: machines.iter().map(|machine| Arc::clone(&machine.volume)).collect(),
            cuts: Arc::clone(cuts),
            has_faults: setup.has_faults,
            next: BEGIN,
            falls: Vec::new(),
            open: Vec::new(),
            down: BTreeSet::new(),
            used: BTreeSet::new(),
            count: 0,
            is_healed: false,
        }
    }

    /// How many faults there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// What happens at the beginning of a tick.
    pub(super) fn tick(&mut self, tick: u64, sim: &mut Sim<'_>, ledger: &Ledger) -> Result<()> {
        if !self.has_faults || self.is_healed {
            return Ok(());
        }
        if tick == BEGIN {
            ledger.record(Event::FaultBegin {
                fault: "faults".to_owned(),
                nodes: (1..=self.hosts.len() as i32).collect(),
                majority: false,
                write_gap_max_us: Some(WRITE_GAP_MAX_US),
                at_us: clock::now_us(),
            });
        }
        self.end_failed(tick, sim)?;
        let due: Vec<_> = self.falls.extract_if(.., |fall| fall.at <= tick).collect();
        for Fall { node, loss, until, .. } in due {
            self.crash(node, loss, until, sim)?;
        }
        let is_end = tick >= HEAL;
        let open = std::mem::take(&mut self.open);
        let (due, open): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|(until, _)| is_end || *until <= tick);
        self.open = open;
        for (_, fault) in due {
            self.mend(fault, sim);
        }
        if is_end {
            self.is_healed = true;
            self.falls.clear();
            for volume in &self.volumes {
                volume.stall(0);
                volume.fail_next_sync(false);
                volume.set_clock_offset_ms(0);
            }
            ledger.record(Event::FaultEnd { fault: "faults".to_owned(), at_us: clock::now_us() });
        } else if tick >= self.next {
            self.next = tick + self.random.random_range(100..2_500);
            // The topic may take long where nodes fall early.
            self.strike(tick, sim)?;
        }
        Ok(())
    }

    fn strike(&mut self, tick: u64, sim: &mut Sim<'_>) -> Result<()> {
        let lasts = match self.random.random_range(0..3) {
            0 => self.random.random_range(20..300),
            1 => self.random.random_range(300..1_500),
            _ => self.random.random_range(1_500..6_000),
        };
        let until = tick + lasts;
        let node = self.random.random_range(0..self.hosts.len());
        match self.random.random_range(0..100) {
            0..35 => {
                let loss = self.loss();
                self.crash(node, loss, until, sim)?;
            }
            35..40 => {
                for node in 0..self.hosts.len() {
                    let until = until + self.random.random_range(0..500);
                    let loss = self.loss();
                    self.crash(node, loss, until, sim)?;
                }
            }
            40..50 => self.fall_during_election(tick),
            50..60 => {
                let other = self.random.random_range(0..self.hosts.len());
                let links = self.free([(node, other)]);
                self.cut(links, until, sim);
            }
            60..75 => {
                let all = (0..self.hosts.len()).map(|other| (node, other)).collect::<Vec<_>>();
                let links = self.free(all);
                self.cut(links, until, sim);
            }
            75..87 => {
                let all = (0..self.hosts.len()).map(|other| (node, other)).collect::<Vec<_>>();
                let links = self.free(all);
                if !links.is_empty() {
                    self.count += 1;
                    tracing::info!(?links, lasts, "messages are held");
                    links.iter().for_each(|(a, b)| sim.hold(a.as_str(), b.as_str()));
                    self.open.push((until, Fault::Held { links }));
                }
            }
            87..93 => {
                self.count += 1;
                tracing::info!(node = self.hosts[node], lasts, "the disk stalls");
                self.volumes[node].stall(clock::now_us() + lasts * 1_000);
            }
            93..97 => {
                self.count += 1;
                tracing::info!(node = self.hosts[node], "the next sync fails");
                self.volumes[node].fail_next_sync(true);
            }
            _ => {
                self.count += 1;
                let ms = self.random.random_range(-CLOCK_JUMP_MS_MAX..=CLOCK_JUMP_MS_MAX);
                tracing::info!(node = self.hosts[node], ms, "the wall clock jumps");
                self.volumes[node].set_clock_offset_ms(ms);
            }
        }
        Ok(())
    }

    /// Those links between nodes that have no fault, which they have now.
    fn free(&mut self, wanted: impl IntoIterator<Item = (usize, usize)>) -> Vec<Link> {
        let wanted = wanted.into_iter().filter(|(a, b)| a != b);
        let links: Vec<Link> =
            wanted.map(|(a, b)| (self.hosts[a].clone(), self.hosts[b].clone())).collect();
        self.take(links)
    }

    fn take(&mut self, links: Vec<Link>) -> Vec<Link> {
        links.into_iter().filter(|link| self.used.insert(ordered(link))).collect()
    }

    fn cut(&mut self, links: Vec<Link>, until: u64, sim: &mut Sim<'_>) {
        if links.is_empty() {
            return;
        }
        let one_way = self.random.random_bool(0.4);
        let turned = self.random.random_bool(0.5);
        let links: Vec<Link> =
            if turned { links.into_iter().map(|(a, b)| (b, a)).collect() } else { links };
        self.count += 1;
        tracing::info!(?links, one_way, "messages are lost");
        for (a, b) in &links {
            self.cuts.cut(a, b);
            match one_way {
                true => sim.partition_oneway(a.as_str(), b.as_str()),
                false => sim.partition(a.as_str(), b.as_str()),
            }
        }
        self.open.push((until, Fault::Cut { links, one_way }));
    }

    /// A node whose sync failed has ended its process; what was not synced is gone, whatever a second
    /// sync would have said.
    fn end_failed(&mut self, tick: u64, sim: &mut Sim<'_>) -> Result<()> {
        for node in 0..self.volumes.len() {
            if self.volumes[node].take_failed() && !self.down.contains(&node) {
                let until = tick + self.random.random_range(100..2_000);
                let loss = self.loss();
                self.crash(node, loss, until, sim)?;
            }
        }
        Ok(())
    }

    fn loss(&mut self) -> Loss {
        match self.random.random_range(0..3) {
            0 => Loss::Process,
            1 => Loss::AllUnsynced,
            _ => Loss::SomeUnsynced,
        }
    }

    /// A process is killed, and while the others elect in its place, the power of one more fails, which may
    /// just have voted; then whoever may just have been elected falls for longer, so that those two have to
    /// elect again.
    fn fall_during_election(&mut self, tick: u64) {
        let mut nodes: Vec<usize> = (0..self.hosts.len()).collect();
        nodes.shuffle(&mut self.random);
        let (voter_at, back) = (tick + self.random.random_range(1..30), tick + 100);
        let leader_at = voter_at + self.random.random_range(1..50);
        let soon = back + self.random.random_range(0..200);
        let late = back + self.random.random_range(1_000..3_000);
        let leader_loss = self.loss();
        let falls = [
            Fall { node: nodes[0], loss: Loss::Process, at: tick, until: soon },
            Fall { node: nodes[1], loss: Loss::AllUnsynced, at: voter_at, until: soon },
            Fall { node: nodes[2], loss: leader_loss, at: leader_at, until: late },
        ];
        self.falls.extend(falls);
    }

    fn crash(&mut self, node: usize, loss: Loss, until: u64, sim: &mut Sim<'_>) -> Result<()> {
        if !self.down.insert(node) {
            return Ok(());
        }
        self.count += 1;
        let host = self.hosts[node].clone();
        tracing::info!(node = host, ?loss, "crash");
        let links = match loss {
            // The machine goes on, and says that nobody listens.
            Loss::Process => Vec::new(),
            _ => {
                let others = self.hosts.iter().filter(|other| **other != host).cloned();
                let others = others.chain(CLIENTS.map(str::to_owned));
                let links = others.map(|other| (host.clone(), other)).collect();
                self.take(links)
            }
        };
        for (a, b) in &links {
            self.cuts.cut(a, b);
            sim.partition(a.as_str(), b.as_str());
        }
        self.volumes[node].crash(loss)?;
        sim.crash(host.as_str());
        self.open.push((until, Fault::Down { node, links }));
        Ok(())
    }

    fn mend(&mut self, fault: Fault, sim: &mut Sim<'_>) {
        match fault {
            Fault::Down { node, links } => {
                self.down.remove(&node);
                self.mend_links(&links, sim);
                tracing::info!(node = self.hosts[node], "start");
                sim.bounce(self.hosts[node].as_str());
            }
            Fault::Cut { links, one_way } => {
                tracing::info!(?links, one_way, "messages pass again");
                self.mend_links(&links, sim);
            }
            Fault::Held { links } => {
                tracing::info!(?links, "held messages go on");
                for link in &links {
                    self.used.remove(&ordered(link));
                    sim.release(link.0.as_str(), link.1.as_str());
                }
            }
        }
    }

    fn mend_links(&mut self, links: &[Link], sim: &mut Sim<'_>) {
        for link in links {
            self.used.remove(&ordered(link));
            if self.cuts.mend(&link.0, &link.1) {
                sim.repair(link.0.as_str(), link.1.as_str());
            }
        }
    }
}

fn ordered((a, b): &Link) -> Link {
    if a < b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
}
