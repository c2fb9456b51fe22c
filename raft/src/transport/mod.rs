//! One TCP connection per pair of nodes, and everything that two nodes say over it; and a second one,
//! with budgets of its own, for entries that were committed long before: what a replica that was away
//! is sent, at a bounded rate, never stands before what is written now.
//!
//! Who dials: **the node with the smaller id**. Both sides then ask and answer over that one
//! connection. So no pair ever holds two connections that race, a connection is lost for both
//! sides at once, and requests of one side keep their order. The price: the node with the greater
//! id cannot reconnect by itself; its peer retries within 200 ms. It knocks meanwhile, to learn
//! whether its peer is gone.
//!
//! ```text
//! dialer ──┐                     ┌─ reader ── handler (requests) · pending (answers)
//!          ├─ hello ── Link ─────┤
//! acceptor ┘                     └─ writer ── queue (urgent first, bulk within a byte budget)
//! ```
//!
//! **Invariant:** a reader never waits for a writer, so two nodes cannot block one another.

mod acceptor;
mod dialer;
mod handshake;
mod io_thread;
mod link;
mod log_gate;
mod pace;
mod peer;
mod queue;
mod switchboard;

pub(crate) use link::{FrameHandler, Inbound, Link, LinkError, Pending};
pub(crate) use peer::Peer;
pub(crate) use switchboard::Transport;
