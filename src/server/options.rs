//! The server's limits.

use std::time::Duration;

/// Limits of a server; the defaults are Kafka's where Kafka has the option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerOptions {
    /// Most bytes of one request frame (`socket.request.max.bytes`), and of all requests of one
    /// connection in work. APIs that carry no records have lower limits of their own.
    pub request_bytes_max: usize,
    /// Most bytes of all requests that are read or in work at a time, over all connections
    /// (`queued.max.request.bytes`); connections wait for their turn. At least one frame fits. Frames
    /// of up to 64 KiB have an eighth of it beside, for themselves.
    pub in_flight_bytes_max: usize,
    /// Most requests of one connection that are in work at a time; then reading pauses.
    pub in_flight_requests_max: usize,
    /// Most connections (`max.connections`); those beyond are closed at once.
    pub connections_max: usize,
    /// A connection with nothing in work that sends nothing for so long is closed
    /// (`connections.max.idle.ms`); so is one that does not take a response for so long.
    pub idle_max: Duration,
    /// A frame that has begun must be complete within this time, plus a second for every
    /// [`Self::frame_bytes_per_second_min`] bytes of it.
    pub frame_time_max: Duration,
    /// Slowest pace at which a large frame may come.
    pub frame_bytes_per_second_min: usize,
    /// While others wait for the bytes that a frame holds, it must keep that pace over every such span.
    pub frame_stall_max: Duration,
    /// On shutdown, requests in work are given so long to finish.
    pub drain_max: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            request_bytes_max: 100 << 20,
            in_flight_bytes_max: 256 << 20,
            in_flight_requests_max: 64,
            connections_max: 20_000,
            idle_max: Duration::from_secs(10 * 60),
            frame_time_max: Duration::from_secs(30),
            frame_bytes_per_second_min: 1 << 20,
            frame_stall_max: Duration::from_secs(2),
            drain_max: Duration::from_secs(5),
        }
    }
}

impl ServerOptions {
    /// How long a frame of `bytes` may take to come.
    pub(super) fn frame_time(&self, bytes: usize) -> Duration {
        let pace = self.frame_bytes_per_second_min.max(1);
        self.frame_time_max + Duration::from_secs((bytes / pace) as u64)
    }

    /// Bytes that must come within [`Self::frame_stall_max`] while others wait.
    pub(super) fn stall_bytes(&self) -> usize {
        (self.frame_bytes_per_second_min as f64 * self.frame_stall_max.as_secs_f64()) as usize
    }
}
