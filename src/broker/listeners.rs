//! The three sockets of a node, bound before anything else so that a port in use is told at once.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use jackdaw_raft::Bound;
use tokio::net::TcpListener;

use crate::config::ListenerConfig;
use crate::server::Listener;

/// Bound; nothing is accepted yet.
pub struct Listeners {
    /// Where clients connect to.
    pub kafka: Box<dyn Listener>,
    /// The address of that.
    pub kafka_address: SocketAddr,
    /// Where peers connect to.
    pub peer: Box<dyn Bound>,
    /// The admin endpoint; a simulated node has none.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Binds the configured addresses of this machine.
    pub(super) async fn bind(config: &ListenerConfig) -> Result<Self> {
        let kafka = bind("listeners.kafka", config.kafka).await?;
        Ok(Self {
            kafka_address: kafka.local_addr()?,
            kafka: Box::new(kafka),
            peer: Box::new(bind("listeners.peer", config.peer).await?.into_std()?),
            admin: Some(bind("listeners.admin", config.admin).await?),
        })
    }
}

async fn bind(key: &str, address: SocketAddr) -> Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| {
        format!("cannot listen on {address}: stop what uses it, or set `{key}` to another address")
    })
}
