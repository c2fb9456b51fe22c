//! The accept loop and what all its connections share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::budget::Budget;
use super::connection;
use super::end::EndLog;
use super::options::ServerOptions;
use super::socket::{Listener, Socket};
use super::stats::ServerStats;
use crate::handlers::{ConnectionState, RequestHandler};
use crate::model::log_limit::LogLimit;

/// Pauses after an accept that failed for want of descriptors or memory.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// A Kafka server. Clones share their limits; each may serve a listener of its own.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

/// What all connections share.
pub(super) struct Shared {
    pub(super) options: ServerOptions,
    pub(super) handler: Arc<dyn RequestHandler>,
    /// Bytes of requests that are read or in work.
    pub(super) budget: Budget,
    pub(super) stats: ServerStats,
    ends: EndLog,
    accept_errors: LogLimit,
}

impl Server {
    /// A server that answers with `handler`.
    #[must_use]
    pub fn new(options: ServerOptions, handler: Arc<dyn RequestHandler>) -> Self {
        let budget = Budget::new(&options);
        let shared = Shared {
            options,
            handler,
            budget,
            stats: ServerStats::default(),
            ends: EndLog::new(),
            accept_errors: LogLimit::new(1, Duration::from_secs(10)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What the server has counted.
    #[must_use]
    pub fn stats(&self) -> &ServerStats {
        &self.shared.stats
    }

    /// Bytes of requests that are being read or are in work.
    #[must_use]
    pub fn in_flight_bytes(&self) -> usize {
        self.shared.budget.held()
    }

    /// Accepts connections until `shutdown` becomes true or loses its sender, then stops reading,
    /// lets requests in work finish, and returns when every connection is closed.
    pub async fn serve(&self, listener: impl Listener, mut shutdown: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        let mut backoff = BACKOFF_MIN;
        while !*shutdown.borrow_and_update() {
            let accepted = tokio::select! {
                biased;
                changed = shutdown.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => break,
                },
                Some(ended) = connections.join_next() => {
                    report_panic(ended);
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => {
                    backoff = BACKOFF_MIN;
                    self.accept(stream, address, &shutdown, &mut connections);
                }
                Err(error) => self.accept_failed(&error, &mut backoff).await,
            }
        }
        drop(listener);
        while let Some(ended) = connections.join_next().await {
            report_panic(ended);
        }
    }

    fn accept(
        &self,
        stream: Box<dyn Socket>,
        address: SocketAddr,
        shutdown: &watch::Receiver<bool>,
        connections: &mut JoinSet<()>,
    ) {
        let stats = &self.shared.stats;
        stats.accepted.add(1);
        if stats.connections.get() >= self.shared.options.connections_max as u64 {
            stats.refused.add(1);
            self.shared.ends.log_too_many(address, self.shared.options.connections_max);
            return;
        }
        let open = Open::new(Arc::clone(&self.shared));
        let shutdown = shutdown.clone();
        connections.spawn(async move {
            let shared = &open.0;
            let state = ConnectionState::new(address);
            let end = match stream.prepare() {
                Ok(()) => connection::serve(shared, &*stream, &state, shutdown).await,
                Err(error) => error.into(),
            };
            if shared.ends.log(address, &end) {
                shared.stats.refused.add(1);
            }
        });
    }

    /// Waits where accepting again at once would fail again; a connection that was reset before it
    /// was accepted is no such case.
    async fn accept_failed(&self, error: &io::Error, backoff: &mut Duration) {
        use rustix::io::Errno;
        let is_shortage = Errno::from_io_error(error).is_some_and(|errno| {
            matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
        });
        self.shared.stats.accept_errors.add(1);
        if let Some(held_back) = self.shared.accept_errors.admit(Instant::now()) {
            tracing::warn!(held_back, "cannot accept a connection: {error}");
        }
        if is_shortage {
            tokio::time::sleep(*backoff).await;
            *backoff = (*backoff * 2).min(BACKOFF_MAX);
        }
    }
}

/// Counts a connection as open until dropped, also by a panic.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.stats.connections.add(1);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.stats.connections.subtract(1);
    }
}

fn report_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a connection's task ended abnormally: {error}");
    }
}
