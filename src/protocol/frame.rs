//! The start of a request frame, and what is refused on sight of it.
//!
//! ```text
//! 0  length          i32   bytes after this field
//! 4  api key         i16
//! 6  api version     i16
//! 8  correlation id  i32   then client id, tagged fields, body
//! ```
//!
//! **Invariant:** a frame is refused or admitted by its first [`PREFIX_BYTES`] bytes, before any
//! memory is set aside for the rest.

use std::fmt;

use super::{Api, ApiKey};

/// Bytes that decide whether the rest of a frame is read: length, key and version.
pub const PREFIX_BYTES: usize = 8;
/// Key, version, correlation id and an absent client id.
const HEADER_BYTES_MIN: i32 = 10;

/// Why a frame is refused by its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A negative length.
    #[error("the frame length {0} is negative")]
    Negative(i32),
    /// Zero, or too short for any header.
    #[error("the frame length {0} is too short for a request header")]
    TooShort(i32),
    /// More than is read for this API.
    #[error("the frame length {length} exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Claimed.
        length: usize,
        /// Allowed.
        limit: usize,
    },
    /// An API that is not offered.
    #[error("API key {key} (version {version}) is not offered")]
    UnknownApi {
        /// Key as sent.
        key: i16,
        /// Version as sent.
        version: i16,
    },
    /// A version outside the accepted range.
    #[error("version {version} of {api} is not supported")]
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// Version as sent.
        version: i16,
    },
}

/// An admitted frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramePrefix {
    /// Bytes after the length field.
    pub length: usize,
    /// The API.
    pub api: &'static Api,
    /// Version as sent; outside the accepted range only for ApiVersions, which is answered anyway.
    pub version: i16,
}

/// Reads and checks a length field alone, so that a wrong one is refused before more bytes come.
///
/// # Errors
/// [`FrameError::Negative`], [`FrameError::TooShort`] or [`FrameError::TooLarge`].
pub fn frame_length(bytes: [u8; 4], limit: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(bytes);
    if length < 0 {
        return Err(FrameError::Negative(length));
    }
    if length < HEADER_BYTES_MIN {
        return Err(FrameError::TooShort(length));
    }
    let length = length as usize;
    if length > limit {
        return Err(FrameError::TooLarge { length, limit });
    }
    Ok(length)
}

impl FramePrefix {
    /// Reads and checks the prefix of a frame of at most `limit` bytes.
    ///
    /// # Errors
    /// Any [`FrameError`].
    pub fn parse(bytes: [u8; PREFIX_BYTES], limit: usize) -> Result<Self, FrameError> {
        let [a, b, c, d, key_high, key_low, version_high, version_low] = bytes;
        let length = frame_length([a, b, c, d], limit)?;
        let key = i16::from_be_bytes([key_high, key_low]);
        let version = i16::from_be_bytes([version_high, version_low]);
        let Some(api) = ApiKey::from_code(key).map(ApiKey::api) else {
            return Err(FrameError::UnknownApi { key, version });
        };
        if !api.accepted.contains(version) && api.key != ApiKey::ApiVersions {
            return Err(FrameError::UnsupportedVersion { api: api.key, version });
        }
        if length > api.frame_bytes_max {
            return Err(FrameError::TooLarge { length, limit: api.frame_bytes_max });
        }
        Ok(Self { length, api, version })
    }
}

/// A protocol that is not Kafka's but often knocks at its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// A TLS ClientHello record.
    Tls,
    /// An HTTP request line.
    Http,
}

impl Stranger {
    /// Recognises the first bytes of a connection.
    #[must_use]
    pub fn recognise(bytes: &[u8]) -> Option<Self> {
        const METHODS: [&[u8]; 7] = [b"GET ", b"PUT ", b"POST", b"HEAD", b"DELE", b"OPTI", b"CONN"];
        match bytes {
            [0x16, 0x03, ..] => Some(Self::Tls),
            _ if METHODS.iter().any(|method| bytes.starts_with(method)) => Some(Self::Http),
            _ => None,
        }
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS bytes on a plaintext listener",
            Self::Http => "an HTTP request on the Kafka port",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(length: i32, key: i16, version: i16) -> Result<FramePrefix, FrameError> {
        let mut bytes = [0; PREFIX_BYTES];
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        bytes[4..6].copy_from_slice(&key.to_be_bytes());
        bytes[6..].copy_from_slice(&version.to_be_bytes());
        FramePrefix::parse(bytes, 100 << 20)
    }

    #[test]
    fn lengths() {
        assert_eq!(parse(-1, 3, 0), Err(FrameError::Negative(-1)));
        assert_eq!(parse(i32::MIN, 3, 0), Err(FrameError::Negative(i32::MIN)));
        assert_eq!(parse(0, 3, 0), Err(FrameError::TooShort(0)));
        assert_eq!(parse(9, 3, 0), Err(FrameError::TooShort(9)));
        assert!(matches!(parse(i32::MAX, 0, 9), Err(FrameError::TooLarge { .. })));
        assert_eq!(parse(100 << 20, 0, 9).unwrap().length, 100 << 20);
        assert!(matches!(parse(100 << 20, 3, 9), Err(FrameError::TooLarge { .. })));
    }

    #[test]
    fn keys_and_versions() {
        assert_eq!(parse(10, 3, 13).unwrap().api.key, ApiKey::Metadata);
        assert_eq!(
            parse(10, 3, 14),
            Err(FrameError::UnsupportedVersion { api: ApiKey::Metadata, version: 14 })
        );
        assert!(matches!(parse(10, 0, 2), Err(FrameError::UnsupportedVersion { .. })));
        assert_eq!(parse(10, 999, 1), Err(FrameError::UnknownApi { key: 999, version: 1 }));
        assert_eq!(parse(10, 18, 99).unwrap().version, 99);
        assert_eq!(parse(10, 18, -1).unwrap().version, -1);
    }

    #[test]
    fn strangers() {
        assert_eq!(Stranger::recognise(b"\x16\x03\x01\x02\x00\x01"), Some(Stranger::Tls));
        assert_eq!(Stranger::recognise(b"GET / HTTP/1.1\r\n"), Some(Stranger::Http));
        assert_eq!(Stranger::recognise(&[0, 0, 0, 20, 0, 3]), None);
    }
}
