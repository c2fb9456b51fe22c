//! What the server hands to a handler, and what it takes back.
//!
//! **Invariant:** requests of a connection are begun in the order in which they came, each after
//! the stage that [`RequestHandler::handle`] awaits of the one before; responses leave in that
//! order too, however [`Outcome::Pending`] ones finish.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use kafka_wire::{KafkaResponse, RequestResponsePair};
use kafka_wire_core::{ApiVersion, DecodeError, Decoder, EncodeError};

use super::Records;
use super::farewell::Farewells;
use crate::protocol::{
    ApiKey, ErrorCode, FetchResponse, HeaderError, ResponseFrame, decode_limits,
};

/// A response frame ready to send.
pub type Response = ResponseFrame<Records>;

/// A client's software, as it names itself in ApiVersions v3 on (KIP-511).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Software {
    /// For instance `apache-kafka-java`.
    pub name: String,
    /// For instance `4.1.0`.
    pub version: String,
}

/// What is known of a connection; one for all its requests.
#[derive(Debug)]
pub struct ConnectionState {
    address: SocketAddr,
    software: OnceLock<Arc<Software>>,
    farewells: Farewells,
}

impl ConnectionState {
    /// A fresh connection of a client at `address`.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, software: OnceLock::new(), farewells: Farewells::default() }
    }

    /// The client's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The dead brokers that it was told of.
    #[must_use]
    pub fn farewells(&self) -> &Farewells {
        &self.farewells
    }

    /// The client's software, once it has named it.
    #[must_use]
    pub fn software(&self) -> Option<&Arc<Software>> {
        self.software.get()
    }

    /// Keeps the software's name; the first one stays.
    pub fn set_software(&self, software: Software) {
        let _ = self.software.set(Arc::new(software));
    }
}

/// What stands around a request's body.
#[derive(Clone, Debug)]
pub struct RequestMeta {
    /// The API.
    pub api_key: ApiKey,
    /// Its version: an accepted one, except for ApiVersions.
    pub version: i16,
    /// Chosen by the client, sent back.
    pub correlation_id: i32,
    /// Name that the client gives itself.
    pub client_id: Option<Arc<str>>,
    /// Where it connects from.
    pub client_address: SocketAddr,
    /// Its software, where it has named it.
    pub software: Option<Arc<Software>>,
}

impl RequestMeta {
    /// Encodes the response to this request.
    ///
    /// A message that the version cannot express is our mistake, and the client cannot be given
    /// any response in its place: the connection is closed and the reason logged.
    #[must_use]
    pub fn respond<M: KafkaResponse>(&self, message: &M) -> Reply {
        debug_assert_eq!(M::API_KEY.value(), self.api_key.code());
        Reply::encoded(Response::encode(
            self.api_key.api(),
            self.version,
            self.correlation_id,
            message,
        ))
    }

    /// Encodes the response to a fetch request, records left where they are.
    #[must_use]
    pub fn respond_fetch(&self, response: FetchResponse<Records>) -> Reply {
        debug_assert_eq!(self.api_key, ApiKey::Fetch);
        Reply::encoded(response.encode(self.version, self.correlation_id))
    }

    /// The client id, empty where there is none.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }

    /// The client's host as Kafka shows it in group descriptions: `/127.0.0.1`.
    #[must_use]
    pub fn client_host(&self) -> String {
        format!("/{}", self.client_address.ip())
    }
}

/// A request whose body is not decoded yet.
#[derive(Clone, Debug)]
pub struct Request {
    /// What stands around the body.
    pub meta: RequestMeta,
    /// The body, shared with the frame that it came in.
    pub body: Bytes,
}

impl Request {
    /// Decodes the body. Bytes after it are let pass, as Kafka lets them pass.
    ///
    /// # Errors
    /// [`CloseReason::Malformed`].
    pub fn decode<Req: RequestResponsePair>(&self) -> Result<Req, CloseReason> {
        debug_assert_eq!(Req::API_KEY.value(), self.meta.api_key.code());
        let mut decoder = Decoder::new(self.body.clone(), decode_limits(self.body.len()))?;
        Ok(Req::decode(&mut decoder, ApiVersion::new(self.meta.version))?)
    }
}

/// The answer to a request.
#[derive(Debug)]
pub enum Reply {
    /// A response.
    Response(Response),
    /// No response is due: produce with `acks=0`.
    None,
    /// The connection is to be closed, after the responses before this one.
    Close(CloseReason),
}

impl Reply {
    fn encoded(outcome: Result<Response, EncodeError>) -> Self {
        outcome.map_or_else(|error| Self::Close(error.into()), Self::Response)
    }
}

/// What has become of a request once its first stage is over.
pub enum Outcome {
    /// It is answered.
    Ready(Reply),
    /// The answer follows; meanwhile the connection reads on. It is polled once before the next
    /// request begins, and dropped where the client leaves.
    Pending(BoxFuture<'static, Reply>),
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self::Ready(reply)
    }
}

impl From<CloseReason> for Outcome {
    fn from(reason: CloseReason) -> Self {
        Self::Ready(Reply::Close(reason))
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(reply) => f.debug_tuple("Ready").field(reply).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}

/// Why a request makes the server close its connection.
#[derive(Debug, thiserror::Error)]
pub enum CloseReason {
    /// The header cannot be read.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The body cannot be decoded.
    #[error("malformed request body: {0}")]
    Malformed(#[from] DecodeError),
    /// A produce request with more partitions than its bytes can hold batches.
    #[error("{0} partitions, which is more than the request's bytes can hold batches for")]
    Shape(usize),
    /// The response cannot be expressed: our mistake.
    #[error("the response cannot be encoded: {0}")]
    Response(#[from] EncodeError),
    /// A produce request with `acks=0` failed, which no response can say.
    #[error("produce with acks=0 failed: {0}")]
    Unacknowledged(ErrorCode),
}

/// Answers requests; the broker implements it over its rooms.
pub trait RequestHandler: Send + Sync + 'static {
    /// Begins `request`. The next request of the connection is begun when this resolves.
    fn handle<'a>(
        &'a self,
        connection: &'a ConnectionState,
        request: Request,
    ) -> BoxFuture<'a, Outcome>;
}
