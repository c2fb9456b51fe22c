//! The codecs of record batches: gzip, snappy, lz4 and zstd.
//!
//! The broker keeps records as the producer compressed them, unless the topic names a codec; it
//! decompresses to look at them.
//!
//! **Invariant:** decompression never yields more than the limit that the caller gives, nor sets
//! aside more than that, the codec's window and a few blocks.
//! **Invariant:** what decodes is one whole stream: bytes that follow it are an error.

mod decoder;
mod encoder;
mod lz4;
mod snappy;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

pub use encoder::Encoder;

/// A codec, as bits 0–2 of a batch's attributes name it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Records as they are.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// Snappy blocks, plain or in xerial's framing.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard, Produce v7 and Fetch v10 on.
    Zstd,
}

/// A codec and how hard it tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codec {
    /// The codec.
    pub compression: Compression,
    /// Its level, gzip 1–9 and zstd −131072–22; none is the codec's default. Snappy has no levels, and
    /// lz4 one here: the fast one.
    pub level: Option<i32>,
}

/// Why bytes cannot be (de)compressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressionError {
    /// No codec has this number.
    #[error("unknown compression codec {0}")]
    UnknownCodec(i16),
    /// No codec has this name.
    #[error("unknown compression `{0}`: none, gzip, snappy, lz4 or zstd")]
    UnknownName(String),
    /// The output would exceed the caller's limit.
    #[error("more than {limit} bytes when decompressed")]
    TooLarge {
        /// Bytes allowed.
        limit: usize,
    },
    /// The bytes are not what the codec expects.
    #[error("corrupt {codec} data: {source}")]
    Corrupt {
        /// The codec.
        codec: Compression,
        /// What it says.
        source: io::Error,
    },
}

impl Compression {
    /// Every codec.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of a number.
    ///
    /// # Errors
    /// [`CompressionError::UnknownCodec`].
    pub fn from_code(code: i16) -> Result<Self, CompressionError> {
        let found = Self::ALL.into_iter().find(|codec| codec.code() == code);
        found.ok_or(CompressionError::UnknownCodec(code))
    }

    /// Its number in batch attributes.
    #[must_use]
    pub fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// Its name in Kafka's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// Compresses `input` at the codec's default level.
    ///
    /// # Errors
    /// [`CompressionError::Corrupt`] where the codec fails.
    pub fn compress(self, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let codec = Codec { compression: self, level: None };
        let packed = codec.encoder(Vec::new(), Some(input.len())).and_then(|mut encoder| {
            encoder.write_all(input)?;
            encoder.finish()
        });
        packed.map_err(|source| CompressionError::Corrupt { codec: self, source })
    }

    /// Decompresses `input` into at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`CompressionError::TooLarge`] beyond the limit, [`CompressionError::Corrupt`] otherwise.
    pub fn decompress(self, input: &[u8], bytes_max: usize) -> Result<Vec<u8>, CompressionError> {
        let output = self
            .decoder(input, bytes_max)
            .and_then(|decoder| read_bounded(decoder, bytes_max))
            .map_err(|source| self.failure(bytes_max, source))?;
        output.ok_or(CompressionError::TooLarge { limit: bytes_max })
    }

    /// What an error of a decoder under `bytes_max` means.
    pub(super) fn failure(self, bytes_max: usize, source: io::Error) -> CompressionError {
        if source.kind() == io::ErrorKind::FileTooLarge {
            CompressionError::TooLarge { limit: bytes_max }
        } else {
            CompressionError::Corrupt { codec: self, source }
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|codec| codec.name() == name);
        found.ok_or_else(|| CompressionError::UnknownName(name.to_owned()))
    }
}

/// Reads to the end, or `None` once there is more than `bytes_max`.
fn read_bounded(reader: impl Read, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut output = Vec::new();
    reader.take((bytes_max as u64).saturating_add(1)).read_to_end(&mut output)?;
    Ok((output.len() <= bytes_max).then_some(output))
}
