//! The three sockets of a node, bound before anything else so that a port in use is told at once.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use crate::config::ListenerConfig;

/// Bound and listening; nothing is accepted yet.
pub(super) struct Listeners {
    pub(super) kafka: TcpListener,
    pub(super) peer: TcpListener,
    pub(super) admin: TcpListener,
}

impl Listeners {
    /// Binds the configured addresses.
    pub(super) async fn bind(config: &ListenerConfig) -> Result<Self> {
        Ok(Self {
            kafka: bind("listeners.kafka", config.kafka).await?,
            peer: bind("listeners.peer", config.peer).await?,
            admin: bind("listeners.admin", config.admin).await?,
        })
    }
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| {
        format!("cannot listen on {address}: stop what uses it, or set `{key}` to another address")
    })
}
