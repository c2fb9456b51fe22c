//! Why a data folder cannot be used.
//!
//! **Invariant:** each text says what to do.

use std::io;
use std::path::PathBuf;

use crate::model::BrokerId;

/// Why a data folder cannot be used. The text is one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The operating system refused an operation.
    #[error("cannot {doing} {path}: {source}; check the data folder's owner and permissions")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Its reason.
        #[source]
        source: io::Error,
    },
    /// Another process uses it.
    #[error("{path} is in use by another process: stop it, or configure another data folder")]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// It was made by another node or for another cluster.
    #[error(
        "{path} belongs to node {found_node} of cluster {found_cluster}, but the configuration says \
         node {wanted_node} of cluster {wanted_cluster}: correct the configuration, or use another \
         data folder"
    )]
    OtherNode {
        /// The folder.
        path: PathBuf,
        /// Its cluster.
        found_cluster: String,
        /// Its node.
        found_node: BrokerId,
        /// The configured cluster.
        wanted_cluster: String,
        /// The configured node.
        wanted_node: BrokerId,
    },
    /// Its `node.json` is unreadable, of a newer version, or missing although there is data.
    #[error(
        "{path} cannot be trusted ({what}): restore it from a copy, or use another data folder"
    )]
    Identity {
        /// The file.
        path: PathBuf,
        /// Why.
        what: String,
    },
}
