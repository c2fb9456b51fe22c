//! For tests of this crate and of port implementations elsewhere: ports in memory, and openraft's
//! own storage conformance suite run against any ports.
//!
//! **Invariant:** the ports in memory are the reference: they keep every promise that
//! [`port`](crate::LogPort) makes, in the plainest way.

mod conformance;
mod hard_state;
mod log;
mod machine;

pub use conformance::{Ports, conformance};
pub use hard_state::MemHardState;
pub use log::MemLog;
pub use machine::MemMachine;
