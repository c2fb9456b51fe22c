//! The room as a whole: its ports under openraft's suite, and metadata groups of one and of three
//! nodes over real logs, stores and sockets.

mod cluster;
mod conformance;
mod election;
mod hearsay;
pub(crate) mod node;
