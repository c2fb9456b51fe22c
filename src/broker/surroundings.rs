//! What a node stands on: the machine, or a simulation of several.
//!
//! **Invariant:** a node reaches the network, the disk and the clock through this and what it is made of.

use std::sync::Arc;

use anyhow::Result;
use jackdaw_raft::{BoxFuture, Network};

use super::listeners::Listeners;
use crate::config::ListenerConfig;
use crate::model::{Clock, SystemClock};
use crate::storage::StorageOptions;

/// Binds a node's listeners.
pub trait Bind: Send + Sync {
    /// Binds the configured addresses.
    ///
    /// # Errors
    /// One of them is in use.
    fn bind<'a>(&'a self, config: &'a ListenerConfig) -> BoxFuture<'a, Result<Listeners>>;
}

/// See the file's head.
#[derive(Clone)]
pub struct Surroundings {
    /// Where others connect to.
    pub bind: Arc<dyn Bind>,
    /// What peers are dialed in.
    pub network: Network,
    /// Disk, workers, key-value store and what a failed sync leads to; the rest is the node's to configure.
    pub storage: StorageOptions,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    /// Whether work may go to threads of its own; if not, all happens in the runtime of the caller.
    pub has_threads: bool,
}

struct Machine;

impl Bind for Machine {
    fn bind<'a>(&'a self, config: &'a ListenerConfig) -> BoxFuture<'a, Result<Listeners>> {
        Box::pin(Listeners::bind(config))
    }
}

/// This machine.
impl Default for Surroundings {
    fn default() -> Self {
        Self {
            bind: Arc::new(Machine),
            network: Network::default(),
            storage: StorageOptions::default(),
            clock: Arc::new(SystemClock),
            has_threads: true,
        }
    }
}
