//! The codecs of record batches: gzip, snappy, lz4 and zstd.
//!
//! The broker keeps records as the producer compressed them; this is for tools, for tests and for
//! the few checks that must look inside.
//!
//! **Invariant:** decompression never yields, nor sets aside for its output, more than the limit
//! that the caller gives.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};

/// Head of xerial's snappy stream: magic, then version 1 and lowest compatible version 1.
const XERIAL_HEAD: [u8; 16] = *b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";
const XERIAL_MAGIC_BYTES: usize = 8;
/// Uncompressed bytes per xerial block, its own default.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

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

    /// Compresses `input`.
    ///
    /// # Errors
    /// [`CompressionError::Corrupt`] where the codec fails.
    pub fn compress(self, input: &[u8]) -> Result<Vec<u8>, CompressionError> {
        self.try_compress(input).map_err(|source| CompressionError::Corrupt { codec: self, source })
    }

    fn try_compress(self, input: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(input.to_vec()),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(input)?;
                encoder.finish()
            }
            Self::Snappy => compress_xerial(input),
            Self::Lz4 => {
                // Independent blocks: Kafka's Java client reads no others.
                let frame = FrameInfo::new()
                    .block_mode(BlockMode::Independent)
                    .block_size(BlockSize::Max64KB);
                let mut encoder = FrameEncoder::with_frame_info(frame, Vec::new());
                encoder.write_all(input)?;
                encoder.finish().map_err(io::Error::from)
            }
            Self::Zstd => zstd::stream::encode_all(input, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }

    /// Decompresses `input` into at most `bytes_max` bytes.
    ///
    /// # Errors
    /// [`CompressionError::TooLarge`] beyond the limit, [`CompressionError::Corrupt`] otherwise.
    pub fn decompress(self, input: &[u8], bytes_max: usize) -> Result<Vec<u8>, CompressionError> {
        let outcome = match self {
            Self::None => read_bounded(input, bytes_max),
            Self::Gzip => read_bounded(MultiGzDecoder::new(input), bytes_max),
            Self::Snappy => decompress_snappy(input, bytes_max),
            Self::Lz4 => read_bounded(FrameDecoder::new(input), bytes_max),
            Self::Zstd => zstd::stream::read::Decoder::new(input)
                .and_then(|decoder| read_bounded(decoder, bytes_max)),
        };
        match outcome {
            Ok(Some(output)) => Ok(output),
            Ok(None) => Err(CompressionError::TooLarge { limit: bytes_max }),
            Err(source) => Err(CompressionError::Corrupt { codec: self, source }),
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

fn compress_xerial(input: &[u8]) -> io::Result<Vec<u8>> {
    let mut output = XERIAL_HEAD.to_vec();
    let mut encoder = snap::raw::Encoder::new();
    for block in input.chunks(XERIAL_BLOCK_BYTES) {
        let block = encoder.compress_vec(block)?;
        output.extend_from_slice(&(block.len() as u32).to_be_bytes());
        output.extend_from_slice(&block);
    }
    Ok(output)
}

/// A plain snappy block, or xerial's stream of blocks with a length before each.
fn decompress_snappy(input: &[u8], bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut output = Vec::new();
    if !input.starts_with(&XERIAL_HEAD[..XERIAL_MAGIC_BYTES]) {
        let fits = append_block(input, bytes_max, &mut output)?;
        return Ok(fits.then_some(output));
    }
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "a snappy block is cut off");
    let mut rest = input.get(XERIAL_HEAD.len()..).ok_or_else(cut)?;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_be_bytes(*length) as usize;
        let block = after.get(..length).ok_or_else(cut)?;
        rest = &after[length..];
        if !append_block(block, bytes_max, &mut output)? {
            return Ok(None);
        }
    }
    Ok(Some(output))
}

/// Appends a block's content; false, before anything is set aside, where it would not fit.
fn append_block(block: &[u8], bytes_max: usize, output: &mut Vec<u8>) -> io::Result<bool> {
    let length = snap::raw::decompress_len(block)?;
    // `output` is never longer than `bytes_max`.
    if length > bytes_max - output.len() {
        return Ok(false);
    }
    let start = output.len();
    output.resize(start + length, 0);
    snap::raw::Decoder::new().decompress(block, &mut output[start..])?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(
            input in prop::collection::vec(any::<u8>(), 0..2_000),
            repeat in 1_usize..60,
        ) {
            let input = input.repeat(repeat);
            for codec in Compression::ALL {
                let packed = codec.compress(&input).unwrap();
                prop_assert_eq!(&codec.decompress(&packed, input.len()).unwrap(), &input);
                if !input.is_empty() {
                    let refused = codec.decompress(&packed, input.len() - 1);
                    prop_assert!(
                        matches!(refused, Err(CompressionError::TooLarge { .. })), "{codec}");
                }
            }
        }

        #[test]
        fn garbage_is_an_error_or_small(input in prop::collection::vec(any::<u8>(), 0..200)) {
            for codec in Compression::ALL {
                if let Ok(output) = codec.decompress(&input, 1_000) {
                    prop_assert!(output.len() <= 1_000);
                }
            }
        }
    }

    #[test]
    fn bombs_are_refused_early() {
        let zeros = vec![0; 64 << 20];
        for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let packed = codec.compress(&zeros).unwrap();
            let refused = codec.decompress(&packed, 1 << 20);
            assert!(matches!(refused, Err(CompressionError::TooLarge { .. })), "{codec}");
        }
        // A snappy block that claims 4 GiB in five bytes.
        let claim = [0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
        assert!(Compression::Snappy.decompress(&claim, 1 << 20).is_err());
    }

    #[test]
    fn plain_snappy_blocks_are_read_as_well() {
        let packed = snap::raw::Encoder::new().compress_vec(b"librdkafka sends these").unwrap();
        let output = Compression::Snappy.decompress(&packed, 100).unwrap();
        assert_eq!(output, b"librdkafka sends these");
    }

    #[test]
    fn cut_xerial_blocks_are_corrupt() {
        let packed = Compression::Snappy.compress(b"some bytes").unwrap();
        for end in [9, 15, 17, 19, packed.len() - 1] {
            let outcome = Compression::Snappy.decompress(&packed[..end], 100);
            assert!(matches!(outcome, Err(CompressionError::Corrupt { .. })), "{end} bytes");
        }
    }

    #[test]
    fn names_and_numbers() {
        for codec in Compression::ALL {
            assert_eq!(Compression::from_code(codec.code()).unwrap(), codec);
            assert_eq!(codec.name().parse::<Compression>().unwrap(), codec);
        }
        assert!(Compression::from_code(5).is_err());
        assert!("brotli".parse::<Compression>().is_err());
    }
}
