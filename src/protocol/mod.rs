//! Kafka's bytes, without I/O: frames, headers, the API table, error codes, decode limits.
//!
//! Messages themselves are `kafka-wire`'s generated types; this room says which of them are
//! offered, how much of a peer's claim is believed, and how responses become frames.
//!
//! **Invariant:** nothing here reads a socket, a file or a clock, and no length that a peer claims
//! is trusted before it is checked against the bytes that are there.

mod api;
pub mod client;
mod error_code;
mod fetch_response;
mod frame;
mod header;
mod limits;
mod response;

pub use api::{APIS, Api, ApiKey, Versions};
pub use error_code::ErrorCode;
pub use fetch_response::{FetchPartition, FetchResponse, FetchTopic, NodeEndpoint};
pub use frame::{FrameError, FramePrefix, PREFIX_BYTES, Stranger, frame_length};
pub use header::{HeaderError, RequestHeader, response_header_version};
pub use limits::{check_produce_shape, decode_limits};
pub use response::{Piece, RecordSlice, ResponseFrame};
