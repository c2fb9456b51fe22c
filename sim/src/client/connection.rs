//! One connection to one node: a request, then its answer.

use bytes::{Bytes, BytesMut};
use jackdaw::protocol::client::{
    Negotiated, api_versions_request, decode_response, encode_request, response_length,
};
use kafka_wire::RequestResponsePair;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout_at};
use turmoil::net::TcpStream;

use crate::net::{SimNetwork, read_some};

/// Largest answer.
const RESPONSE_BYTES_MAX: usize = 64 << 20;
/// The newest version whose request every broker understands.
const API_VERSIONS: i16 = 2;

/// A request that was not answered as it should be.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// It cannot have been heard.
    NotSent(String),
    /// It may have been heard.
    Unanswered(String),
    /// It was answered with this error code.
    Refused(i16),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotSent(why) | Self::Unanswered(why) => f.write_str(why),
            Self::Refused(code) => write!(f, "error code {code}"),
        }
    }
}

/// A connection whose API versions are known. After trouble it is not used again.
pub(crate) struct Connection {
    stream: TcpStream,
    unread: BytesMut,
    correlation_id: i32,
    negotiated: Negotiated,
}

impl Connection {
    /// Connects to a node's Kafka port, until `due` at most.
    pub(crate) async fn open(
        network: &SimNetwork,
        address: &str,
        due: Instant,
    ) -> Result<Self, Trouble> {
        let dialed = timeout_at(due, network.dial(address)).await;
        let stream = dialed
            .map_err(|_| Trouble::NotSent(format!("{address} does not answer")))?
            .map_err(|error| Trouble::NotSent(error.to_string()))?;
        let (unread, negotiated) = (BytesMut::new(), Negotiated::default());
        let mut connection = Self { stream, unread, correlation_id: 0, negotiated };
        let answer = connection.exchange(&api_versions_request(), API_VERSIONS, due).await;
        let answer = answer.map_err(|trouble| Trouble::NotSent(trouble.to_string()))?;
        connection.negotiated =
            Negotiated::from_response(&answer).map_err(|e| Trouble::NotSent(e.to_string()))?;
        Ok(connection)
    }

    /// Asks in the newest common version, at most `version_max`.
    pub(crate) async fn call<R: RequestResponsePair>(
        &mut self,
        request: &R,
        version_max: i16,
        due: Instant,
    ) -> Result<R::Response, Trouble> {
        let version = self.negotiated.version::<R>();
        let version = version.map_err(|error| Trouble::NotSent(error.to_string()))?;
        self.exchange(request, version.min(version_max), due).await
    }

    async fn exchange<R: RequestResponsePair>(
        &mut self,
        request: &R,
        version: i16,
        due: Instant,
    ) -> Result<R::Response, Trouble> {
        self.correlation_id += 1;
        let frame = encode_request(request, version, self.correlation_id, "sim")
            .map_err(|error| Trouble::NotSent(error.to_string()))?;
        let answer = timeout_at(due, self.round_trip(&frame)).await;
        let answer = answer
            .map_err(|_| Trouble::Unanswered("no answer in time".to_owned()))?
            .map_err(|error| Trouble::Unanswered(error.to_string()))?;
        // A node that answers what nobody can read is broken, not slow.
        Ok(decode_response::<R>(answer, version, self.correlation_id)
            .unwrap_or_else(|error| panic!("{} was answered with garbage: {error}", R::NAME)))
    }

    async fn round_trip(&mut self, frame: &[u8]) -> std::io::Result<Bytes> {
        self.stream.write_all(frame).await?;
        loop {
            if let Some(prefix) = self.unread.first_chunk::<4>() {
                let length =
                    response_length(*prefix, RESPONSE_BYTES_MAX).map_err(std::io::Error::other)?;
                if self.unread.len() >= 4 + length {
                    let mut answer = self.unread.split_to(4 + length);
                    return Ok(answer.split_off(4).freeze());
                }
            }
            if read_some(&mut self.stream, &mut self.unread).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}
