//! Every fault that a run of all faults goes through, and what each needs.

use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;

use super::{
    Bandwidth, BitFlip, ClockJump, Combined, CutAll, CutCable, CutOff, CutPair, DeletedIndexes,
    Direction, Fault, FillDisk, KillAll, KillController, KillFollower, KillLeader, KillNodes, Need,
    PacketLoss, PauseLeader, Place, PowerCut, ReadOnly, ResetConnections, RollingRestart,
    SyncDelay, SyncError, TruncatedSegment, Victim,
};
use crate::cluster::NodeId;

/// Packets lost at each end of a cable, of 100.
const LOSS_PERCENT: u32 = 5;
/// What a node may send, kilobits per second.
const RATE_KBIT: u32 = 4000;
const SYNC_DELAY: Duration = Duration::from_millis(300);
const HOUR_S: i64 = 3600;

/// A fault that can be drawn.
#[derive(Clone, Copy)]
pub struct Entry {
    /// The fault's name.
    pub name: &'static str,
    /// What it needs.
    pub needs: &'static [Need],
    make: fn(&mut Draw<'_>) -> Box<dyn Fault>,
}

/// What faults are drawn from.
pub struct Draw<'a> {
    /// The run's seed.
    pub rng: &'a mut StdRng,
    /// The cluster's nodes.
    pub nodes: Vec<NodeId>,
    /// The topic that is written to.
    pub topic: &'a str,
    /// Its partitions.
    pub partitions: i32,
}

impl Entry {
    /// The fault, with its choices drawn.
    #[must_use]
    pub fn draw(&self, draw: &mut Draw<'_>) -> Box<dyn Fault> {
        (self.make)(draw)
    }
}

impl Draw<'_> {
    fn some(&mut self, count: usize) -> Vec<NodeId> {
        let picked = rand::seq::index::sample(&mut self.rng, self.nodes.len(), count);
        picked.into_iter().map(|at| self.nodes[at]).collect()
    }

    fn one(&mut self) -> NodeId {
        self.nodes[self.rng.random_range(0..self.nodes.len())]
    }

    fn leader(&self) -> Victim {
        Victim::Leader(self.topic.to_owned())
    }

    fn place(&mut self) -> Place {
        let partition = self.rng.random_range(0..self.partitions);
        Place { node: self.one(), topic: self.topic.to_owned(), partition }
    }

    fn power_cut(&mut self, count: usize) -> Box<dyn Fault> {
        Box::new(PowerCut::of_nodes(self.some(count), self.nodes.len()))
    }

    fn clock_jump(&mut self, seconds: i64) -> Box<dyn Fault> {
        Box::new(ClockJump::of(Victim::Node(self.one()), seconds))
    }

    fn together(&mut self) -> Box<dyn Fault> {
        let loss = Box::new(PacketLoss::of(LOSS_PERCENT));
        let faults: Vec<Box<dyn Fault>> = match self.rng.random_range(0..4) {
            0 => vec![loss, Box::new(KillLeader::of(self.topic))],
            1 => vec![loss, Box::new(PauseLeader::of(self.topic))],
            2 => vec![loss, self.power_cut(1)],
            _ => {
                let late = SyncDelay::of(Victim::Node(self.one()), SYNC_DELAY);
                vec![Box::new(late), Box::new(ResetConnections)]
            }
        };
        Box::new(Combined::of("combination", faults))
    }
}

const HOSTS: &[Need] = &[Need::Hosts];
const VOLUMES: &[Need] = &[Need::Volumes];
const TRACING: &[Need] = &[Need::Tracing];
const CLOCK: &[Need] = &[Need::Clock];
const COMBINED: &[Need] = &[Need::Hosts, Need::Volumes, Need::Tracing];

/// See the file's head.
pub const CATALOGUE: [Entry; 28] = [
    entry("kill-leader", &[], |draw| Box::new(KillLeader::of(draw.topic))),
    entry("kill-controller", &[], |_| Box::new(KillController::default())),
    entry("kill-follower", &[], |draw| Box::new(KillFollower::of(draw.topic))),
    entry("kill-random", &[], |draw| {
        let count = draw.rng.random_range(1..draw.nodes.len());
        Box::new(KillNodes::of_nodes(draw.some(count), draw.nodes.len()))
    }),
    entry("kill-all", &[], |_| Box::new(KillAll)),
    entry("pause-leader", &[], |draw| Box::new(PauseLeader::of(draw.topic))),
    entry("rolling-restart", &[], |_| Box::new(RollingRestart)),
    entry("bit-flip", &[], |draw| Box::new(BitFlip::at(draw.place(), draw.rng.random()))),
    entry("truncated-segment", &[], |draw| Box::new(TruncatedSegment::at(draw.place()))),
    entry("deleted-index", &[], |draw| Box::new(DeletedIndexes::at(draw.place()))),
    entry("cut-cable", HOSTS, |draw| Box::new(CutCable::of(draw.topic))),
    entry("cut-off", HOSTS, |draw| Box::new(CutOff::of(draw.leader(), Direction::Both))),
    entry("cut-outgoing", HOSTS, |draw| Box::new(CutOff::of(draw.leader(), Direction::Outgoing))),
    entry("cut-incoming", HOSTS, |draw| Box::new(CutOff::of(draw.leader(), Direction::Incoming))),
    entry("cut-pair", HOSTS, |draw| {
        let pair = draw.some(2);
        Box::new(CutPair::of(pair[0], pair[1]))
    }),
    entry("cut-all", HOSTS, |_| Box::new(CutAll)),
    entry("packet-loss", HOSTS, |_| Box::new(PacketLoss::of(LOSS_PERCENT))),
    entry("bandwidth", HOSTS, |_| Box::new(Bandwidth::of(RATE_KBIT))),
    entry("reset-connections", HOSTS, |_| Box::new(ResetConnections)),
    entry("power-cut", VOLUMES, |draw| draw.power_cut(1)),
    entry("power-cut-majority", VOLUMES, |draw| {
        let count = draw.rng.random_range(draw.nodes.len() / 2 + 1..=draw.nodes.len());
        draw.power_cut(count)
    }),
    entry("fill-disk", VOLUMES, |_| Box::new(FillDisk)),
    entry("read-only", VOLUMES, |draw| Box::new(ReadOnly::of(draw.leader()))),
    entry("sync-error", TRACING, |draw| Box::new(SyncError::of(draw.leader()))),
    entry("sync-delay", TRACING, |draw| Box::new(SyncDelay::of(draw.leader(), SYNC_DELAY))),
    entry("clock-ahead", CLOCK, |draw| draw.clock_jump(HOUR_S)),
    entry("clock-back", CLOCK, |draw| draw.clock_jump(-HOUR_S)),
    entry("combination", COMBINED, |draw| draw.together()),
];

const fn entry(
    name: &'static str,
    needs: &'static [Need],
    make: fn(&mut Draw<'_>) -> Box<dyn Fault>,
) -> Entry {
    Entry { name, needs, make }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn a_fault_has_the_name_that_it_is_listed_under() {
        let mut rng = StdRng::seed_from_u64(1);
        let nodes = vec![1, 2, 3];
        let mut draw = Draw { rng: &mut rng, nodes, topic: "t", partitions: 12 };
        for entry in &CATALOGUE {
            assert_eq!(entry.draw(&mut draw).name(), entry.name);
        }
        let mut names: Vec<_> = CATALOGUE.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CATALOGUE.len(), "each is listed once");
    }

    #[test]
    fn the_same_seed_draws_the_same_nodes() {
        let hit = || {
            let mut rng = StdRng::seed_from_u64(7);
            let nodes = vec![1, 2, 3, 4, 5];
            let mut draw = Draw { rng: &mut rng, nodes, topic: "t", partitions: 12 };
            (draw.some(2), draw.place())
        };
        assert_eq!(hit(), hit());
    }
}
