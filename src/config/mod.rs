//! The node's configuration: read once at start, typed, validated, never looked up again.
//!
//! A file in TOML (`config/node.toml` shows every key) plus `--set key=value` overrides become one
//! [`NodeConfig`]. Rooms do not read it: the broker hands each its own options.
//!
//! **Invariant:** a [`NodeConfig`] that exists is valid; whoever holds one checks nothing again.
//! **Invariant:** every refusal names the key, the line if there is one, and what to do.

mod document;
mod error;
mod file;
mod node;
mod suggest;
mod validate;

pub use error::ConfigError;
pub use node::{
    GroupConfig, LimitConfig, ListenerConfig, LogFormat, LoggingConfig, NodeAddress, NodeConfig,
    RaftConfig, StorageConfig, TopicConfig,
};
