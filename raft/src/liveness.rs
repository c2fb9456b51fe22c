//! Node-pair heartbeats: whether a peer lives, whatever groups two nodes share.
//!
//! **Invariant:** one beat per pair and interval, however many groups there are. A silent peer's
//! connection is closed, so that everything waiting for it fails at once.
//! **Invariant:** a node that was itself stopped or starved blames nobody: silence counts from beat to beat.

use std::sync::Arc;

use tokio::time::MissedTickBehavior;

use crate::id::GroupId;
use crate::transport::{Link, Transport};
use crate::wire::{Beat, Kind, Outgoing};

/// Runs until the transport stops.
pub(crate) async fn run(transport: Arc<Transport>) {
    let mut stopped = transport.stopped();
    let mut ticks = tokio::time::interval(transport.timing().heartbeat());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
        transport.peers().iter().for_each(|peer| peer.listened());
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

/// Tells all peers that this node is about to stop: none gives it leaderships any more.
pub(crate) fn leave(transport: &Transport) {
    transport.set_leaving();
    // Who connects later is told then.
    transport.links().iter().for_each(|link| say_leaving(link));
}

pub(crate) fn say_leaving(link: &Link) {
    link.notify(Outgoing::new(Kind::Leaving, GroupId::METADATA, 0));
}

/// Sends a beat or its echo.
pub(crate) fn send(link: &Link, kind: Kind, beat: Beat) {
    let mut frame = Outgoing::new(kind, GroupId::METADATA, 8);
    beat.encode(frame.body());
    link.notify(frame);
}
