//! One run: a cluster and its clients, from a seed.
//!
//! ```text
//! 0 s ──────── 5 s ──────────── 34 s ───── 41 s ────────── 50 s
//!   topic, load │ faults, by the seed │ healed │ load ends, all is read, replicas are compared
//! ```

mod injector;
mod judge;
mod nodes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use turmoil::Sim;

use crate::clock;
use crate::disk::Volume;
use crate::names::node_name;
use crate::net::{Cuts, SimNetwork};
use crate::setup::{Setup, TICKS};
use crate::workload::{self, Ledger};
use injector::Injector;
pub(crate) use judge::Verdict;

/// The load ends, ms.
const LOAD_END: u64 = 41_000;
/// Longest that anything may take from the simulation, beyond its ticks.
const NEVER: Duration = Duration::from_secs(3_600);
/// Segments that a link may hold.
const TCP_SEGMENTS: usize = 4_096;

/// Hosts of clients.
const CLIENTS: [&str; 3] = ["founder", "load", "reader"];

/// A node's disk and what its host is called.
pub(crate) struct Machine {
    node: i32,
    host: String,
    volume: Arc<Volume>,
}

/// Runs a seed in the current folder, which is empty; only `until` a tick, if there is one, and then
/// nothing is judged.
///
/// # Errors
/// A node cannot start, or the machine's own disk fails.
pub(crate) fn run(setup: &Setup, until: Option<u64>) -> Result<Verdict> {
    let cuts = Arc::<Cuts>::default();
    let mut sim = turmoil::Builder::new()
        .tick_duration(Duration::from_millis(1))
        .simulation_duration(NEVER)
        .min_message_latency(Duration::from_micros(100))
        .max_message_latency(Duration::from_millis(setup.latency_ms_max))
        .tcp_capacity(TCP_SEGMENTS)
        .rng_seed(setup.seed)
        .build();
    let machines = machines(setup)?;
    for machine in &machines {
        nodes::host(&mut sim, setup, machine, &cuts);
    }
    let ledger = Ledger::new();
    clients(&mut sim, setup, &cuts, &ledger);
    let mut injector = Injector::new(setup, &machines, &cuts);
    for tick in 0..until.unwrap_or(TICKS).min(TICKS) {
        if tick == LOAD_END {
            ledger.end_load();
        }
        injector.tick(tick, &mut sim, &ledger)?;
        sim.step().map_err(|error| anyhow!("at {tick} ms: {error}"))?;
        clock::set((tick + 1) * 1_000_000);
    }
    let verdict = match until {
        None => judge::judge(setup, &machines, &ledger, &injector)?,
        Some(_) => {
            Verdict { findings: Vec::new(), ..judge::judge(setup, &machines, &ledger, &injector)? }
        }
    };
    // Nodes end as by a crash.
    for machine in &machines {
        machine.volume.crash(crate::disk::Loss::Process)?;
    }
    Ok(verdict)
}

fn machines(setup: &Setup) -> Result<Vec<Machine>> {
    let machine = |node: i32| {
        let host = node_name(node);
        let folder = Path::new(&host);
        std::fs::create_dir(folder)?;
        let seed = setup.seed.wrapping_mul(31).wrapping_add(node as u64);
        let volume = Arc::new(Volume::new(folder, seed, setup.sync_ms_max)?);
        Ok(Machine { node, host, volume })
    };
    setup.nodes().into_iter().map(machine).collect()
}

fn clients(sim: &mut Sim<'_>, setup: &Setup, cuts: &Arc<Cuts>, ledger: &Ledger) {
    let [founder, load, reader] = CLIENTS;
    let of = |host: &str| (SimNetwork::new(host, cuts), setup.clone(), ledger.clone());
    let (network, its, book) = of(founder);
    sim.client(founder, async move {
        workload::found(network, its, book).await;
        Ok(())
    });
    let (network, its, book) = of(load);
    sim.client(load, async move {
        workload::load(network, its, book).await;
        Ok(())
    });
    let (network, its, book) = of(reader);
    sim.client(reader, async move {
        workload::read_all(network, its, book).await;
        Ok(())
    });
}
