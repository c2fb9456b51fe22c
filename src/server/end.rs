//! How connections end, and what is logged about it.
//!
//! **Invariant:** a connection that ends because of what its client sent costs at most one log
//! line, and all connections together a bounded number per second.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::handlers::CloseReason;
use crate::model::log_limit::LogLimit;
use crate::protocol::{FrameError, Stranger};

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    /// The client closed it between two requests.
    #[error("closed by the client")]
    Closed,
    /// The client closed it within a request.
    #[error("closed by the client within a request, after {got} bytes of a frame")]
    Truncated {
        /// Bytes of the frame that had come.
        got: usize,
    },
    /// Nothing came for too long.
    #[error("idle for too long")]
    Idle,
    /// A frame came too slowly.
    #[error("a frame was not complete in time: {got} bytes came")]
    Slow {
        /// Bytes of the frame that had come.
        got: usize,
    },
    /// The client did not take its responses.
    #[error("the client took no bytes of its responses for too long")]
    Stalled,
    /// What came is not a request.
    #[error("{0}")]
    Stranger(Stranger),
    /// The frame is refused by its prefix.
    #[error("{error}")]
    Frame {
        /// Why.
        error: FrameError,
        /// Whose, if its header had come that far.
        client_id: Option<String>,
    },
    /// The request or its handler asks for it.
    #[error("{reason}")]
    Request {
        /// Why.
        reason: CloseReason,
        /// The API's name.
        api: &'static str,
        /// The request's version.
        version: i16,
        /// Whose.
        client_id: Option<String>,
    },
    /// The server stops.
    #[error("the server is shutting down")]
    Shutdown,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl End {
    /// Whether responses to requests that came before are still to be sent.
    pub(super) fn drains(&self) -> bool {
        match self {
            Self::Stranger(_) | Self::Frame { .. } | Self::Request { .. } | Self::Shutdown => true,
            Self::Closed
            | Self::Truncated { .. }
            | Self::Idle
            | Self::Slow { .. }
            | Self::Stalled
            | Self::Io(_) => false,
        }
    }
}

/// Lines about refused connections, over all of them.
const LINES_PER_WINDOW: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Writes the lines.
#[derive(Debug)]
pub(super) struct EndLog(LogLimit);

impl EndLog {
    pub(super) fn new() -> Self {
        Self(LogLimit::new(LINES_PER_WINDOW, WINDOW))
    }

    /// Logs an end; true if the client is to blame.
    pub(super) fn log(&self, address: SocketAddr, end: &End) -> bool {
        let (api, version, client_id) = match end {
            End::Closed | End::Idle | End::Shutdown | End::Io(_) => {
                tracing::debug!(%address, "connection ended: {end}");
                return false;
            }
            End::Truncated { .. } | End::Slow { .. } | End::Stalled | End::Stranger(_) => {
                (None, None, None)
            }
            End::Frame { client_id, .. } => (None, None, client_id.as_deref()),
            End::Request { api, version, client_id, .. } => {
                (Some(*api), Some(*version), client_id.as_deref())
            }
        };
        if let Some(held_back) = self.0.admit(Instant::now()) {
            let held_back = (held_back > 0).then_some(held_back);
            tracing::warn!(
                %address, client_id, api, version, held_back, "connection closed: {end}"
            );
        }
        true
    }

    /// Logs a connection beyond the limit.
    pub(super) fn log_too_many(&self, address: SocketAddr, connections_max: usize) {
        if let Some(held_back) = self.0.admit(Instant::now()) {
            let held_back = (held_back > 0).then_some(held_back);
            tracing::warn!(
                %address, held_back,
                "connection closed: {connections_max} are open, which is the limit"
            );
        }
    }
}
