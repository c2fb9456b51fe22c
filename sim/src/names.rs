//! What hosts are called, and the ports they listen on.

/// Where nodes listen for clients.
pub(crate) const KAFKA_PORT: u16 = 9092;
/// Where nodes listen for each other.
pub(crate) const PEER_PORT: u16 = 7092;
/// The topic of the workloads.
pub(crate) const TOPIC: &str = "t";

/// The host of a node.
pub(crate) fn node_name(node: i32) -> String {
    format!("n{node}")
}
