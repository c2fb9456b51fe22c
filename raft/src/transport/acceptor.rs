//! Hears peers of smaller ids.
//!
//! **Invariant:** strangers cost little: a bounded number of them at a time, 524 bytes each, for
//! no longer than the connect time-out, and at most one log line per second.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::handshake::{self, HelloError};
use super::log_gate::LogGate;
use super::switchboard::Transport;
use crate::net::{Connection, Listener};

/// Pause after a failed accept (out of file descriptors), which would otherwise spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs until the transport stops.
pub(super) async fn run(transport: Arc<Transport>, listener: Box<dyn Listener>) {
    let mut stopped = transport.stopped();
    tokio::select! {
        () = accept_all(&transport, &*listener) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

async fn accept_all(transport: &Arc<Transport>, listener: &dyn Listener) {
    let gate = Arc::new(LogGate::default());
    let hellos = Arc::new(Semaphore::new(transport.limits().hellos_max));
    loop {
        let Ok(permit) = hellos.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((socket, from)) => {
                let (transport, gate) = (transport.clone(), gate.clone());
                tokio::spawn(async move {
                    greet(&transport, &gate, socket, from).await;
                    drop(permit);
                });
            }
            Err(error) => {
                if let Some(held_back) = gate.open() {
                    tracing::warn!(%error, held_back, "cannot accept a peer connection");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn greet(
    transport: &Arc<Transport>,
    gate: &LogGate,
    mut socket: Connection,
    from: SocketAddr,
) {
    let hello = async {
        let known = |node| transport.peer(node).is_some();
        handshake::accept(&mut socket, &transport.identity(), known).await
    };
    let heard = tokio::time::timeout(transport.timing().connect(), hello).await;
    match heard.unwrap_or(Err(HelloError::Timeout)) {
        Ok(acquaintance) => {
            if let Some(peer) = transport.peer(acquaintance.node) {
                transport.attach(&peer, socket, &acquaintance);
            }
        }
        // A peer that knocks: it wanted to know whether anybody listens.
        Err(HelloError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => {
            tracing::debug!(%from, "a connection without a hello");
        }
        Err(reason) => {
            if let Some(held_back) = gate.open() {
                tracing::warn!(%from, %reason, held_back, "peer connection refused");
            }
        }
    }
}
