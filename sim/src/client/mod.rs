//! A Kafka client in the simulated network: this project's codec, and no retries of its own, so that a
//! history tells what was asked and what came of it.

mod connection;
mod requests;
mod session;

pub(crate) use connection::Trouble;
pub(crate) use session::{End, Fetched, Session};
