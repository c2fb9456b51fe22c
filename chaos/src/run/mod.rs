//! One file per command: which faults, how often, and what must hold besides the invariants.
//!
//! ```text
//! Session::begin     a cluster, a topic, a history, a producer at work
//!   session.round    quiet → fault → writes resume → heal → quiet
//! session.finish     read everything → check → replicas compared → Report
//! ```
//!
//! **Invariant:** a run's random choices come from its seed alone, and the report names the command
//! that repeats them.

mod all;
mod around;
mod controller_kill;
mod cut_cable;
mod demo;
mod disk_full;
mod failover;
mod hibernation;
mod kill_all;
mod leader_kill;
mod load;
mod measure;
mod options;
mod pause_leader;
mod power_cut;
mod record;
mod report;
mod rolling_restart;
mod screen;
mod session;
mod storm;

pub use all::{Choice, all};
pub use around::around;
pub use controller_kill::controller_kill;
pub use cut_cable::cut_cable;
pub use demo::demo;
pub use disk_full::disk_full;
pub use failover::failover;
pub use hibernation::hibernation;
pub use kill_all::kill_all;
pub use leader_kill::leader_kill;
pub(crate) use load::STEADY_RATE_PER_S;
pub use measure::{FaultMeasure, Percentiles};
pub use options::RunOptions;
pub use pause_leader::pause_leader;
pub use power_cut::power_cut;
pub use record::record;
pub use report::Report;
pub use rolling_restart::rolling_restart;
pub use screen::Screen;
pub(crate) use session::default_folder;
pub use storm::storm;

/// When a leader goes silent without a word, its partitions are written to again before this has passed, ms:
/// `raft.peer_dead_ms`, the election, and the client's own time-out.
const SILENCE_BAR_MS: f64 = 2000.0;
