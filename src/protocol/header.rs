//! Request headers in, response header versions out.
//!
//! A flexible request carries header v2 (tagged fields after the client id), any other v1; the
//! client id keeps its two-byte length in both, so that it can be read for logs even where the
//! version is unknown. Responses carry v1 where flexible, except ApiVersions: always v0, since a
//! client reads it before it knows what the broker speaks.

use bytes::Bytes;
use kafka_wire_core::{DecodeError, Decoder, StrBytes};

use super::{Api, ApiKey, decode_limits};

/// Why a header cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The bytes do not form a header.
    #[error("malformed request header: {0}")]
    Malformed(#[from] DecodeError),
    /// The key is not offered.
    #[error("API key {0} is not offered")]
    UnknownApi(i16),
}

/// A request's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API.
    pub api: &'static Api,
    /// Version as sent, perhaps not a supported one.
    pub version: i16,
    /// Chosen by the client, sent back.
    pub correlation_id: i32,
    /// Name that the client gives itself.
    pub client_id: Option<StrBytes>,
}

impl RequestHeader {
    /// Splits a frame (without its length field) into its header and body; neither copies.
    ///
    /// Of a request whose version is not supported only the part that every version shares is
    /// read, and the body is what follows.
    ///
    /// # Errors
    /// [`HeaderError`].
    pub fn decode(frame: Bytes) -> Result<(Self, Bytes), HeaderError> {
        let limits = decode_limits(frame.len());
        let mut decoder = Decoder::new(frame, limits)?;
        let key = decoder.read_i16()?;
        let api = ApiKey::from_code(key).ok_or(HeaderError::UnknownApi(key))?.api();
        let version = decoder.read_i16()?;
        let correlation_id = decoder.read_i32()?;
        let client_id = decoder.read_nullable_string()?;
        if api.accepted.contains(version) && api.is_flexible(version) {
            decoder.read_tagged_fields()?;
        }
        let body = decoder.take_bytes(decoder.remaining())?;
        Ok((Self { api, version, correlation_id, client_id }, body))
    }

    /// The client id in the first bytes of a frame (length field included) that is about to be
    /// refused, if it has arrived and is text.
    #[must_use]
    pub fn peek_client_id(frame: &[u8]) -> Option<&str> {
        let length = i16::from_be_bytes(frame.get(12..14)?.try_into().ok()?);
        let bytes = frame.get(14..)?.get(..usize::try_from(length).ok()?)?;
        std::str::from_utf8(bytes).ok()
    }
}

/// Version of the header that a response to `version` of `api` carries.
#[must_use]
pub fn response_header_version(api: &Api, version: i16) -> i16 {
    i16::from(api.key != ApiKey::ApiVersions && api.is_flexible(version))
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use kafka_wire::{MetadataRequest, OutboundFrameLimits, encode_request};
    use kafka_wire_core::ApiVersion;

    use super::*;

    fn frame(version: i16, client: Option<&str>) -> Bytes {
        let mut buffer = BytesMut::new();
        encode_request(
            &mut buffer,
            7,
            client.map(StrBytes::from),
            &MetadataRequest::default(),
            ApiVersion::new(version),
            OutboundFrameLimits::new(1 << 20),
        )
        .unwrap();
        buffer.freeze()
    }

    #[test]
    fn both_header_versions() {
        for (version, body) in [(1, 4), (9, 5)] {
            let (header, rest) =
                RequestHeader::decode(frame(version, Some("käthe")).slice(4..)).unwrap();
            assert_eq!((header.api.key, header.version), (ApiKey::Metadata, version));
            assert_eq!(header.correlation_id, 7);
            assert_eq!(header.client_id.unwrap().as_str(), "käthe");
            assert_eq!(rest.len(), body);
        }
        let (header, _) = RequestHeader::decode(frame(1, None).slice(4..)).unwrap();
        assert_eq!(header.client_id, None);
    }

    #[test]
    fn truncated_headers_are_errors() {
        let whole = frame(9, Some("client")).slice(4..);
        for end in 0..17 {
            assert!(RequestHeader::decode(whole.slice(..end)).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn the_client_id_is_found_before_anything_else_is_trusted() {
        let whole = frame(9, Some("client"));
        assert_eq!(RequestHeader::peek_client_id(&whole), Some("client"));
        assert_eq!(RequestHeader::peek_client_id(&whole[..15]), None);
    }

    #[test]
    fn response_headers() {
        assert_eq!(response_header_version(ApiKey::ApiVersions.api(), 4), 0);
        assert_eq!(response_header_version(ApiKey::Metadata.api(), 8), 0);
        assert_eq!(response_header_version(ApiKey::Metadata.api(), 9), 1);
    }
}
