//! Keeps one peer of a greater id connected.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::handshake::{self, HelloError};
use super::log_gate::LogGate;
use super::peer::Peer;
use super::switchboard::Transport;

/// Pauses between attempts: the first and the longest. The longest bounds how long a peer that
/// came back waits for us. A refusal is a mistake in somebody's configuration: that pause is longer.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);
const PAUSE_REFUSED: Duration = Duration::from_secs(1);

/// Runs until the transport stops.
pub(super) async fn run(transport: Arc<Transport>, peer: Arc<Peer>) {
    let mut stopped = transport.stopped();
    tokio::select! {
        () = keep_connected(&transport, &peer) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

async fn keep_connected(transport: &Arc<Transport>, peer: &Arc<Peer>) {
    let gate = LogGate::default();
    let mut addresses = peer.address();
    let mut pause = PAUSE_FIRST;
    loop {
        let address = addresses.borrow_and_update().clone();
        let attempt =
            tokio::time::timeout(transport.timing().connect(), dial(transport, peer, &address));
        match attempt.await.unwrap_or(Err(HelloError::Timeout)) {
            Ok(socket) => {
                transport.attach(peer, socket).ended().await;
                pause = PAUSE_FIRST;
            }
            Err(error) => {
                let refused = matches!(error, HelloError::Refused(_) | HelloError::Decode(_));
                if refused && let Some(held_back) = gate.open() {
                    tracing::warn!(peer = %peer.id(), %address, %error, held_back, "hello failed");
                } else {
                    tracing::debug!(peer = %peer.id(), %address, %error, "peer not reached");
                }
                let step = if refused { PAUSE_REFUSED } else { pause };
                pause = (pause * 2).min(PAUSE_MAX);
                // A random part, so that nodes do not dial in step.
                let step = step.mul_f64(rand::random_range(0.75..1.0));
                let _ = tokio::time::timeout(step, addresses.changed()).await;
            }
        }
    }
}

async fn dial(transport: &Transport, peer: &Peer, address: &str) -> Result<TcpStream, HelloError> {
    let mut socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    handshake::dial(&mut socket, transport.me(), peer.id(), transport.cluster()).await?;
    Ok(socket)
}
