//! A response as it goes out: bytes, and records that are not read into memory.
//!
//! **Invariant:** the length field of a frame equals the bytes of its pieces after it; lengths are
//! computed before anything is allocated.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_wire_core::{ApiVersion, EncodeError, KafkaEncode};

use super::{Api, header};

/// A run of record bytes that lies elsewhere, in a file as a rule.
#[allow(clippy::len_without_is_empty)] // a slice of no bytes is never made
pub trait RecordSlice {
    /// Its bytes.
    fn len(&self) -> usize;
}

impl RecordSlice for Bytes {
    fn len(&self) -> usize {
        Bytes::len(self)
    }
}

impl<T: RecordSlice + ?Sized> RecordSlice for Box<T> {
    fn len(&self) -> usize {
        (**self).len()
    }
}

/// A part of a response.
#[derive(Debug)]
pub enum Piece<R> {
    /// Encoded here.
    Bytes(Bytes),
    /// Sent from where they lie.
    Records(R),
}

/// A whole response frame, its length field and header included, in the order of its pieces.
#[derive(Debug)]
pub struct ResponseFrame<R> {
    pieces: Vec<Piece<R>>,
    bytes: usize,
}

/// Bytes of the length field.
const LENGTH_BYTES: usize = 4;

impl<R: RecordSlice> ResponseFrame<R> {
    /// Encodes `message`, the response to a request of `api` at `version`, into one piece.
    ///
    /// # Errors
    /// A message that this version cannot express, or one beyond 2 GiB.
    pub fn encode<M: KafkaEncode>(
        api: &Api,
        version: i16,
        correlation_id: i32,
        message: &M,
    ) -> Result<Self, EncodeError> {
        let codec_version = ApiVersion::new(version);
        let body_bytes = message.encoded_len(codec_version)?;
        let mut buffer = start(api, version, correlation_id, body_bytes, body_bytes)?;
        message.encode_into(&mut buffer, codec_version)?;
        Ok(Self::from_pieces(vec![Piece::Bytes(buffer.freeze())]))
    }

    pub(super) fn from_pieces(pieces: Vec<Piece<R>>) -> Self {
        let bytes = pieces.iter().map(Piece::bytes).sum();
        Self { pieces, bytes }
    }

    /// All bytes of the frame.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The pieces, in order.
    #[must_use]
    pub fn pieces(&self) -> &[Piece<R>] {
        &self.pieces
    }

    /// Takes the pieces out, in order.
    #[must_use]
    pub fn into_pieces(self) -> Vec<Piece<R>> {
        self.pieces
    }
}

impl<R: RecordSlice> Piece<R> {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Records(records) => records.len(),
        }
    }
}

/// A buffer that holds length field and header, with room for `buffered` more bytes of the
/// `body_bytes` that follow in all.
pub(super) fn start(
    api: &Api,
    version: i16,
    correlation_id: i32,
    body_bytes: usize,
    buffered: usize,
) -> Result<BytesMut, EncodeError> {
    let tagged = header::response_header_version(api, version) >= 1;
    let header_bytes = 4 + usize::from(tagged);
    let frame_bytes = header_bytes + body_bytes;
    let length = i32::try_from(frame_bytes)
        .map_err(|_| EncodeError::FrameTooLarge { bytes: frame_bytes })?;
    let mut buffer = BytesMut::with_capacity(LENGTH_BYTES + header_bytes + buffered);
    buffer.put_i32(length);
    buffer.put_i32(correlation_id);
    if tagged {
        buffer.put_u8(0);
    }
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use kafka_wire::{ApiVersionsResponse, HeartbeatResponse};

    use super::*;
    use crate::protocol::ApiKey;

    fn encode<M: KafkaEncode>(key: ApiKey, version: i16, message: &M) -> Vec<u8> {
        let frame = ResponseFrame::<Bytes>::encode(key.api(), version, 5, message).unwrap();
        let [Piece::Bytes(bytes)] = frame.pieces() else { panic!("one piece") };
        assert_eq!(frame.bytes(), bytes.len());
        bytes.to_vec()
    }

    #[test]
    fn frames_of_each_header_version() {
        let heartbeat = HeartbeatResponse::default();
        assert_eq!(
            encode(ApiKey::Heartbeat, 0, &heartbeat),
            [0, 0, 0, 6, 0, 0, 0, 5, 0, 0],
            "header v0"
        );
        assert_eq!(
            encode(ApiKey::Heartbeat, 4, &heartbeat),
            [0, 0, 0, 12, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0],
            "header v1 has a tag section"
        );
        let versions = ApiVersionsResponse::default();
        assert_eq!(
            encode(ApiKey::ApiVersions, 3, &versions),
            [0, 0, 0, 12, 0, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0],
            "ApiVersions keeps header v0, and leaves default tags out"
        );
    }
}
