//! Keeps one peer of a greater id connected, and finds out about one of a smaller id that left.
//!
//! The smaller id dials. Whoever is dialed only knocks, that is connects without a word, to learn whether
//! anybody listens: a refusal proves at once what silence would prove later.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::handshake::{self, Acquaintance, HelloError};
use super::log_gate::LogGate;
use super::peer::Peer;
use super::switchboard::Transport;
use crate::net::{Connect as _, Connection};
use crate::wire::Purpose;

/// Pauses between attempts: the first and the longest. The longest bounds how long a peer that
/// came back waits for us. A refusal is a mistake in somebody's configuration: that pause is longer.
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);
const PAUSE_REFUSED: Duration = Duration::from_secs(1);

/// Runs until the transport stops.
pub(super) async fn run(transport: Arc<Transport>, peer: Arc<Peer>) {
    let mut stopped = transport.stopped();
    let kept = async {
        if transport.me() < peer.id() {
            keep_connected(&transport, &peer).await;
        } else {
            keep_watch(&transport, &peer).await;
        }
    };
    tokio::select! {
        () = kept => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
}

async fn keep_connected(transport: &Arc<Transport>, peer: &Arc<Peer>) {
    let gate = LogGate::default();
    let mut addresses = peer.address();
    let mut pause = PAUSE_FIRST;
    loop {
        let address = addresses.borrow_and_update().clone();
        match dial(transport, peer, &address, Purpose::Main).await {
            Ok((socket, acquaintance)) => {
                let link = transport.attach(peer, socket, &acquaintance);
                tokio::select! {
                    () = link.ended() => {}
                    () = keep_catch_up(transport, peer, &address) => {}
                }
                pause = PAUSE_FIRST;
            }
            Err(error) => {
                note_refusal(transport, peer, &error);
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

/// The second connection, while the first stands. Never returns.
async fn keep_catch_up(transport: &Arc<Transport>, peer: &Arc<Peer>, address: &str) {
    loop {
        match dial(transport, peer, address, Purpose::CatchUp).await {
            Ok((socket, acquaintance)) => {
                transport.attach(peer, socket, &acquaintance).ended().await;
            }
            Err(error) => {
                tracing::debug!(peer = %peer.id(), %address, %error, "no connection to catch up on");
            }
        }
        tokio::time::sleep(PAUSE_MAX).await;
    }
}

/// Knocks while the peer is not connected.
async fn keep_watch(transport: &Arc<Transport>, peer: &Arc<Peer>) {
    let mut pause = PAUSE_FIRST;
    loop {
        if let Some(link) = peer.link() {
            link.ended().await;
            pause = PAUSE_FIRST;
        }
        let address = peer.address().borrow().clone();
        let next = Instant::now() + pause;
        let knock = tokio::time::timeout(
            transport.timing().connect(),
            transport.network().connect(&address),
        );
        if let Ok(Err(error)) = knock.await {
            note_refusal(transport, peer, &error.into());
        }
        pause = (pause * 2).min(PAUSE_MAX);
        tokio::time::sleep_until(next).await;
    }
}

/// A machine that refuses a connection has nobody who listens: the peer's process is gone.
fn note_refusal(transport: &Arc<Transport>, peer: &Arc<Peer>, error: &HelloError) {
    let refused = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionRefused;
    if matches!(error, HelloError::Io(error) if refused(error)) && peer.refused() {
        tracing::warn!(peer = %peer.id(), "nobody listens at the peer's address: it is gone");
        transport.refresh_statuses();
    }
}

async fn dial(
    transport: &Transport,
    peer: &Peer,
    address: &str,
    purpose: Purpose,
) -> Result<(Connection, Acquaintance), HelloError> {
    let greeted = async {
        let mut socket = transport.network().connect(address).await?;
        let me = transport.identity();
        let acquaintance = handshake::dial(&mut socket, &me, peer.id(), purpose).await?;
        Ok((socket, acquaintance))
    };
    let heard = tokio::time::timeout(transport.timing().connect(), greeted).await;
    heard.unwrap_or(Err(HelloError::Timeout))
}
