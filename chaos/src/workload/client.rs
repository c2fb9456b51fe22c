//! Settings that all clients share.

use rdkafka::ClientConfig;

/// A client of the cluster at `bootstrap`.
///
/// Defaults stay but for the pauses between connection attempts: those grow to 10 s, and a run
/// would wait for the client rather than for the cluster that has long been ready again.
#[must_use]
pub fn client_config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("client.id", "jackdaw-chaos")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "250")
        .set("socket.connection.setup.timeout.ms", "2000");
    config
}
