//! Sockets: from accepted connections to requests, and from responses to bytes on the wire.
//!
//! ```text
//! listener ─ one task per connection ┬ reader: prefix → budgets → frame → dispatch → handler ┐
//!                                    └ writer: replies in request order → writev, sendfile ←─┘
//! ```
//!
//! **Invariant:** no memory is set aside for a frame before its first eight bytes were admitted and
//! its length was granted by the budget that all connections share.
//! **Invariant:** responses leave in the order of their requests.

mod budget;
mod connection;
mod dispatch;
mod end;
mod in_flight;
mod listener;
mod options;
mod reader;
mod response;
mod socket;
mod stats;

pub use listener::Server;
pub use options::ServerOptions;
pub use socket::{Listener, Socket};
pub use stats::ServerStats;
