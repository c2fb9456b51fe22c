//! What every command can be told.

use std::path::PathBuf;

/// Options of a run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The `jackdaw` binary.
    pub binary: PathBuf,
    /// Where the run's folder is made.
    pub folder: PathBuf,
    /// Whether the folder stays when all is well; it always stays when something is not.
    pub keep: bool,
    /// Where the report is written as a page.
    pub page: Option<PathBuf>,
    /// Nodes, three or five.
    pub nodes: usize,
    /// Sends per second.
    pub rate_per_s: u32,
    /// What random choices are drawn from.
    pub seed: u64,
    /// How often the fault is repeated.
    pub rounds: u32,
    /// Factor on every bar of time: 1 where the run has the machine to itself.
    pub slack: f64,
}

impl RunOptions {
    /// The command that repeats a run of `name` with these options.
    #[must_use]
    pub fn repeat(&self, name: &str) -> String {
        format!(
            "jackdaw-chaos {name} --seed {} --rounds {} --nodes {} --rate {} --slack {}",
            self.seed, self.rounds, self.nodes, self.rate_per_s, self.slack
        )
    }
}
