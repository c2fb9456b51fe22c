//! Decompression as a stream, so that a batch can be looked at without being held in memory.
//!
//! Memory: lz4 sets aside two blocks of at most 4 MiB, snappy one block, gzip 32 KiB, zstd the window
//! that its frame asks for, up to the 128 MiB that the format's level 22 uses, as far as it is filled.

use std::io::{self, Read};

use flate2::bufread::MultiGzDecoder;

use super::Compression;
use super::lz4::Lz4Reader;
use super::snappy::SnappyReader;

impl Compression {
    /// Reads what `input` holds. Nothing is set aside for a single block of more than `bytes_max`; the
    /// caller stops reading there.
    ///
    /// # Errors
    /// Where the head of `input` is not the codec's. The reader's errors are of kind `FileTooLarge`
    /// for a block beyond `bytes_max`, of others for corrupt bytes.
    pub(in crate::model) fn decoder(
        self,
        input: &[u8],
        bytes_max: usize,
    ) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(MultiGzDecoder::new(input)),
            Self::Snappy => Box::new(SnappyReader::new(input, bytes_max)?),
            Self::Lz4 => Box::new(Lz4Reader::new(input)?),
            Self::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        })
    }
}
