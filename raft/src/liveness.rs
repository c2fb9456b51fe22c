//! Node-pair heartbeats: whether a peer lives, whatever groups two nodes share.
//!
//! **Invariant:** one beat per pair and interval, however many groups there are. A silent peer's
//! connection is closed, so that everything waiting for it fails at once.
//! **Invariant:** a node that was itself stopped or starved blames nobody: what its peers sent
//! meanwhile waits in its sockets.

use std::sync::Arc;

use tokio::time::{Instant, MissedTickBehavior};

use crate::id::GroupId;
use crate::transport::{Link, Transport};
use crate::wire::{Beat, Kind, Outgoing};

/// Runs until the transport stops.
pub(crate) async fn run(transport: Arc<Transport>) {
    let mut stopped = transport.stopped();
    let interval = transport.timing().heartbeat();
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        let now = Instant::now();
        if now - last > 2 * interval {
            transport.peers().iter().for_each(|peer| peer.excuse());
        }
        last = now;
        beat(&transport);
    }
}

fn beat(transport: &Transport) {
    let dead = transport.timing().peer_dead();
    for link in transport.links() {
        let peer = link.peer();
        if !peer.is_given_up(dead) {
            send(&link, Kind::Beat, Beat { sent_us: peer.clock_us() });
        }
    }
    transport.refresh_statuses();
}

/// Sends a beat or its echo.
pub(crate) fn send(link: &Link, kind: Kind, beat: Beat) {
    let mut frame = Outgoing::new(kind, GroupId::METADATA, 8);
    beat.encode(frame.body());
    link.notify(frame);
}
