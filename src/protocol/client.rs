//! The client's half of the protocol, also without I/O: requests out, responses in.
//!
//! A caller owns the socket and the correlation ids: it sends ApiVersions first, keeps the
//! [`Negotiated`] ranges of that connection, and writes and reads whole frames.

use bytes::{Bytes, BytesMut};
use kafka_wire::{
    ApiVersionsRequest, ApiVersionsResponse, OutboundFrameLimits, RequestResponsePair,
};
use kafka_wire_core::{ApiVersion, DecodeError, Decoder, EncodeError, KafkaDecode, StrBytes};

use super::{APIS, ApiKey, ErrorCode, Versions, decode_limits};

/// Why a request cannot be sent or a response cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The broker does not offer the API at all.
    #[error("the broker does not offer {0}")]
    NotOffered(&'static str),
    /// The broker offers only versions that this client does not speak.
    #[error("no common version of {api}: the broker has {theirs}, this client {ours}")]
    NoCommonVersion {
        /// Name of the API.
        api: &'static str,
        /// Offered.
        theirs: Versions,
        /// Spoken here.
        ours: Versions,
    },
    /// The request cannot be expressed in the chosen version.
    #[error("cannot encode the request: {0}")]
    Encode(#[from] EncodeError),
    /// The response is not what the protocol says.
    #[error("malformed response: {0}")]
    Decode(#[from] DecodeError),
    /// The response answers another request.
    #[error("response to request {got} where {expected} was due")]
    Correlation {
        /// Awaited.
        expected: i32,
        /// Received.
        got: i32,
    },
    /// A length field that no response can have.
    #[error("impossible response length {0}")]
    Length(i32),
    /// ApiVersions itself failed.
    #[error("ApiVersions answered error {0}")]
    ApiVersions(i16),
}

/// The version ranges that one broker offers, from its ApiVersions response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    offered: Vec<(i16, Versions)>,
}

impl Negotiated {
    /// Reads the ranges of a response.
    ///
    /// # Errors
    /// [`ClientError::ApiVersions`] where the response is an error. UNSUPPORTED_VERSION (35) still
    /// names the ranges of ApiVersions itself (KIP-511): ask again at [`Self::api_versions_retry`].
    pub fn from_response(response: &ApiVersionsResponse) -> Result<Self, ClientError> {
        if response.error_code != ErrorCode::None.code() {
            return Err(ClientError::ApiVersions(response.error_code));
        }
        Ok(Self { offered: ranges(response) })
    }

    /// The version to ask ApiVersions again with after its answer was UNSUPPORTED_VERSION.
    #[must_use]
    pub fn api_versions_retry(response: &ApiVersionsResponse) -> i16 {
        let key = ApiKey::ApiVersions;
        ranges(response)
            .iter()
            .find(|(offered, _)| *offered == key.code())
            .and_then(|(_, theirs)| key.api().accepted.newest_common(*theirs))
            .unwrap_or(0)
    }

    /// The newest version of `Req` that both sides speak.
    ///
    /// # Errors
    /// [`ClientError::NotOffered`] or [`ClientError::NoCommonVersion`].
    pub fn version<Req: RequestResponsePair>(&self) -> Result<i16, ClientError> {
        let key = Req::API_KEY.value();
        let api = Req::NAME.strip_suffix("Request").unwrap_or(Req::NAME);
        let theirs = self.offered.iter().find(|(offered, _)| *offered == key);
        let (_, theirs) = theirs.ok_or(ClientError::NotOffered(api))?;
        let ours = spoken::<Req>();
        let error = ClientError::NoCommonVersion { api, theirs: *theirs, ours };
        ours.newest_common(*theirs).ok_or(error)
    }
}

fn ranges(response: &ApiVersionsResponse) -> Vec<(i16, Versions)> {
    let range = |min, max| Versions { min, max };
    response
        .api_keys
        .iter()
        .map(|api| (api.api_key, range(api.min_version, api.max_version)))
        .collect()
}

/// What this side speaks: the table's range, or all that the codec has for other APIs.
fn spoken<Req: RequestResponsePair>() -> Versions {
    APIS.iter().find(|api| api.key.code() == Req::API_KEY.value()).map_or(
        Versions {
            min: Req::SUPPORTED_VERSIONS.min().value(),
            max: Req::SUPPORTED_VERSIONS.max().value(),
        },
        |api| api.accepted,
    )
}

/// An ApiVersions request that names this software.
#[must_use]
pub fn api_versions_request() -> ApiVersionsRequest {
    let mut request = ApiVersionsRequest::default();
    request.client_software_name = StrBytes::from("jackdaw");
    request.client_software_version = StrBytes::from(env!("CARGO_PKG_VERSION"));
    request
}

/// Encodes a request as a whole frame, its length field included.
///
/// # Errors
/// [`ClientError::Encode`] where `version` cannot express it.
pub fn encode_request<Req: RequestResponsePair>(
    request: &Req,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Result<Bytes, ClientError> {
    let mut buffer = BytesMut::new();
    kafka_wire::encode_request(
        &mut buffer,
        correlation_id,
        Some(StrBytes::from(client_id)),
        request,
        ApiVersion::new(version),
        OutboundFrameLimits::new(i32::MAX as usize),
    )?;
    Ok(buffer.freeze())
}

/// Reads a response's length field: the bytes that follow it, at most `limit`.
///
/// # Errors
/// [`ClientError::Length`].
pub fn response_length(bytes: [u8; 4], limit: usize) -> Result<usize, ClientError> {
    let length = i32::from_be_bytes(bytes);
    match usize::try_from(length) {
        Ok(bytes) if bytes >= 4 && bytes <= limit => Ok(bytes),
        _ => Err(ClientError::Length(length)),
    }
}

/// Decodes a response frame (without its length field) to a request of `version`.
///
/// An ApiVersions response that says UNSUPPORTED_VERSION comes in version 0 whatever was asked.
///
/// # Errors
/// [`ClientError::Decode`] or [`ClientError::Correlation`].
pub fn decode_response<Req: RequestResponsePair>(
    frame: Bytes,
    version: i16,
    correlation_id: i32,
) -> Result<Req::Response, ClientError> {
    let mut limits = decode_limits(frame.len());
    // A broker is asked by choice: its topics may well be more than a request could name.
    limits.max_array_elements = frame.len();
    let mut version = ApiVersion::new(version);
    let mut decoder = Decoder::new(frame.clone(), limits)?;
    let got = decoder.read_i32()?;
    if got != correlation_id {
        return Err(ClientError::Correlation { expected: correlation_id, got });
    }
    if kafka_wire::response_header_version_for::<Req>(version)? >= 1 {
        decoder.read_tagged_fields()?;
    }
    if Req::API_KEY.value() == ApiKey::ApiVersions.code()
        && frame.get(4..6) == Some(&ErrorCode::UnsupportedVersion.code().to_be_bytes())
    {
        version = ApiVersion::new(0);
    }
    let response = Req::Response::decode(&mut decoder, version)?;
    decoder.finish()?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use kafka_wire::api_versions_response::ApiVersion as Offered;
    use kafka_wire::{CreateAclsRequest, FetchRequest, MetadataRequest};
    use kafka_wire_core::KafkaEncode;

    use super::*;

    fn offer(ranges: &[(i16, i16, i16)]) -> ApiVersionsResponse {
        let mut response = ApiVersionsResponse::default();
        for &(key, min, max) in ranges {
            let mut api = Offered::default();
            (api.api_key, api.min_version, api.max_version) = (key, min, max);
            response.api_keys.push(api);
        }
        response
    }

    #[test]
    fn newest_common_versions() {
        let negotiated = Negotiated::from_response(&offer(&[(3, 0, 99), (1, 19, 20)])).unwrap();
        assert_eq!(negotiated.version::<MetadataRequest>(), Ok(13));
        assert!(matches!(
            negotiated.version::<FetchRequest>(),
            Err(ClientError::NoCommonVersion { api: "Fetch", .. })
        ));
        assert_eq!(
            negotiated.version::<CreateAclsRequest>(),
            Err(ClientError::NotOffered("CreateAcls"))
        );
    }

    #[test]
    fn an_older_broker_names_the_version_to_fall_back_to() {
        let mut refusal = offer(&[(18, 0, 2)]);
        refusal.error_code = 35;
        let mut frame = BytesMut::from(&[0, 0, 0, 9][..]);
        refusal.encode_into(&mut frame, ApiVersion::new(0)).unwrap();
        let decoded = decode_response::<ApiVersionsRequest>(frame.freeze(), 4, 9).unwrap();
        assert_eq!(Negotiated::from_response(&decoded), Err(ClientError::ApiVersions(35)));
        assert_eq!(Negotiated::api_versions_retry(&decoded), 2);
    }

    #[test]
    fn responses_to_other_requests_are_refused() {
        let frame = Bytes::from_static(&[0, 0, 0, 1, 0, 0]);
        assert_eq!(
            decode_response::<ApiVersionsRequest>(frame, 0, 2),
            Err(ClientError::Correlation { expected: 2, got: 1 })
        );
        assert_eq!(response_length([0xff; 4], 100), Err(ClientError::Length(-1)));
        assert_eq!(response_length([0, 0, 0, 101], 100), Err(ClientError::Length(101)));
        assert_eq!(response_length([0, 0, 0, 100], 100), Ok(100));
    }
}
