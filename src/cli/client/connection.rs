//! One connection to one broker: a request, then its answer.

use std::time::Duration;

use bytes::Bytes;
use kafka_wire::{ApiVersionsRequest, RequestResponsePair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::error::ClientFailure;
use crate::protocol::client::{
    ClientError, Negotiated, decode_response, encode_request, response_length,
};

/// Largest answer accepted: a fetch returns at most what was asked, plus one whole batch.
const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// How this client calls itself.
pub(super) const CLIENT_ID: &str = "jackdaw-cli";

/// A connection whose API versions are known.
///
/// **Invariant:** after an error the connection is not used again: an answer may be half read.
pub(super) struct Connection {
    address: String,
    socket: TcpStream,
    correlation_id: i32,
    negotiated: Negotiated,
}

impl Connection {
    /// Connects and asks for the broker's API versions.
    ///
    /// # Errors
    /// The address refuses, is silent until `deadline`, or is not a Kafka broker.
    pub(super) async fn open(address: &str, deadline: Instant) -> Result<Self, ClientFailure> {
        let unreachable =
            |why: String| ClientFailure::Unreachable { tried: vec![format!("{address} ({why})")] };
        let socket = match timeout_at(deadline, TcpStream::connect(address)).await {
            Err(_) => return Err(unreachable("no answer".into())),
            Ok(Err(error)) => return Err(unreachable(error.to_string())),
            Ok(Ok(socket)) => socket,
        };
        if let Err(error) = socket.set_nodelay(true) {
            return Err(unreachable(error.to_string()));
        }
        let mut connection = Self {
            address: address.to_owned(),
            socket,
            correlation_id: 0,
            negotiated: Negotiated::default(),
        };
        // Version 2 is the newest that every broker since Kafka 0.11 answers without a fallback.
        let request = ApiVersionsRequest::default();
        let response = connection.exchange(&request, 2, deadline).await?;
        let negotiated = Negotiated::from_response(&response);
        connection.negotiated = negotiated.map_err(|error| connection.protocol(error))?;
        Ok(connection)
    }

    /// The socket, before anything but ApiVersions went over it, and the versions.
    pub(super) fn into_parts(self) -> (TcpStream, Negotiated) {
        (self.socket, self.negotiated)
    }

    /// Sends a request in the newest common version, at most `version_max`, and reads its answer.
    ///
    /// # Errors
    /// No common version, a broken connection, a malformed answer, or none until `deadline`.
    pub(super) async fn call<R: RequestResponsePair>(
        &mut self,
        request: &R,
        version_max: i16,
        deadline: Instant,
    ) -> Result<R::Response, ClientFailure> {
        let version = self.negotiated.version::<R>().map_err(|error| self.protocol(error))?;
        self.exchange(request, version.min(version_max), deadline).await
    }

    /// Sends a request that the broker does not answer (Produce with acks=0).
    ///
    /// # Errors
    /// No common version, a broken connection, or the socket takes nothing until `deadline`.
    pub(super) async fn send<R: RequestResponsePair>(
        &mut self,
        request: &R,
        version_max: i16,
        deadline: Instant,
    ) -> Result<(), ClientFailure> {
        let version = self.negotiated.version::<R>().map_err(|error| self.protocol(error))?;
        let frame = self.encode(request, version.min(version_max))?;
        timeout_at(deadline, self.socket.write_all(&frame))
            .await
            .map_err(|_| timed_out::<R>(&self.address, deadline))?
            .map_err(|source| self.broken::<R>(source))
    }

    async fn exchange<R: RequestResponsePair>(
        &mut self,
        request: &R,
        version: i16,
        deadline: Instant,
    ) -> Result<R::Response, ClientFailure> {
        let frame = self.encode(request, version)?;
        let started = Instant::now();
        let answer = timeout_at(deadline, self.round_trip(&frame)).await;
        let answer = answer.map_err(|_| ClientFailure::TimedOut {
            what: format!("{} at {}", api_name::<R>(), self.address),
            after: started.elapsed(),
        })?;
        let bytes = match answer.map_err(|source| self.broken::<R>(source))? {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.protocol(error)),
        };
        decode_response::<R>(bytes, version, self.correlation_id)
            .map_err(|error| self.protocol(error))
    }

    fn encode<R: RequestResponsePair>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<Bytes, ClientFailure> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        encode_request(request, version, self.correlation_id, CLIENT_ID)
            .map_err(|error| self.protocol(error))
    }

    async fn round_trip(&mut self, frame: &[u8]) -> std::io::Result<Result<Bytes, ClientError>> {
        self.socket.write_all(frame).await?;
        let mut prefix = [0; 4];
        self.socket.read_exact(&mut prefix).await?;
        let length = match response_length(prefix, RESPONSE_BYTES_MAX) {
            Ok(length) => length,
            Err(error) => return Ok(Err(error)),
        };
        let mut body = Vec::new();
        // Grows with what arrives, not with what the length field claims.
        let read = (&mut self.socket).take(length as u64).read_to_end(&mut body).await?;
        if read < length {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Ok(Bytes::from(body)))
    }

    fn protocol(&self, source: ClientError) -> ClientFailure {
        ClientFailure::Protocol { address: self.address.clone(), source }
    }

    fn broken<R: RequestResponsePair>(&self, source: std::io::Error) -> ClientFailure {
        ClientFailure::Broken { address: self.address.clone(), api: api_name::<R>(), source }
    }
}

fn api_name<R: RequestResponsePair>() -> &'static str {
    R::NAME.strip_suffix("Request").unwrap_or(R::NAME)
}

fn timed_out<R: RequestResponsePair>(address: &str, deadline: Instant) -> ClientFailure {
    let after = Instant::now().saturating_duration_since(deadline).max(Duration::from_millis(1));
    ClientFailure::TimedOut { what: format!("{} at {address}", api_name::<R>()), after }
}
