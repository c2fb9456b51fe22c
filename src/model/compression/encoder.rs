//! Compression as a stream.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use zstd::zstd_safe::CParameter;

use super::snappy::XerialWriter;
use super::{Codec, Compression};

/// From this zstd level on the window alone takes up to 128 MiB and its tables five times as much, for
/// batches that are a hundred times smaller.
const ZSTD_LARGE_WINDOWS_FROM: i32 = 20;
/// The window of the levels before (8 MiB).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Compresses what is written to it into another writer.
pub struct Encoder<W: Write>(Inner<W>);

enum Inner<W: Write> {
    None(W),
    Gzip(GzEncoder<W>),
    Snappy(Box<XerialWriter<W>>),
    Lz4(Box<FrameEncoder<W>>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl Codec {
    /// An encoder into `out`; `input_bytes` is what will be written to it, where that is known.
    ///
    /// # Errors
    /// Of `out`, or where the codec does not know the level.
    pub fn encoder<W: Write>(self, out: W, input_bytes: Option<usize>) -> io::Result<Encoder<W>> {
        Ok(Encoder(match self.compression {
            Compression::None => Inner::None(out),
            Compression::Gzip => Inner::Gzip(GzEncoder::new(out, self.gzip_level())),
            Compression::Snappy => Inner::Snappy(Box::new(XerialWriter::new(out)?)),
            Compression::Lz4 => {
                // Independent blocks: Kafka's Java client reads no others.
                let frame = FrameInfo::new()
                    .block_mode(BlockMode::Independent)
                    .block_size(BlockSize::Max64KB);
                Inner::Lz4(Box::new(FrameEncoder::with_frame_info(frame, out)))
            }
            Compression::Zstd => Inner::Zstd(self.zstd(out, input_bytes)?),
        }))
    }

    fn gzip_level(self) -> flate2::Compression {
        let level = self.level.and_then(|level| u32::try_from(level).ok());
        level.map_or_else(flate2::Compression::default, |level| {
            flate2::Compression::new(level.min(9))
        })
    }

    fn zstd<W: Write>(
        self,
        out: W,
        input_bytes: Option<usize>,
    ) -> io::Result<zstd::stream::write::Encoder<'static, W>> {
        let level = self.level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
        let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
        encoder.set_pledged_src_size(input_bytes.map(|bytes| bytes as u64))?;
        if level >= ZSTD_LARGE_WINDOWS_FROM {
            encoder.set_parameter(CParameter::WindowLog(ZSTD_WINDOW_LOG_MAX))?;
        }
        Ok(encoder)
    }
}

impl<W: Write> Encoder<W> {
    /// Ends the stream.
    ///
    /// # Errors
    /// Of the writer, or of the codec.
    pub fn finish(self) -> io::Result<W> {
        match self.0 {
            Inner::None(out) => Ok(out),
            Inner::Gzip(encoder) => encoder.finish(),
            Inner::Snappy(writer) => writer.finish(),
            Inner::Lz4(encoder) => encoder.finish().map_err(io::Error::from),
            Inner::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::None(out) => out.write(bytes),
            Inner::Gzip(encoder) => encoder.write(bytes),
            Inner::Snappy(writer) => writer.write(bytes),
            Inner::Lz4(encoder) => encoder.write(bytes),
            Inner::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Inner::None(out) => out.flush(),
            Inner::Gzip(encoder) => encoder.flush(),
            Inner::Snappy(writer) => writer.flush(),
            Inner::Lz4(encoder) => encoder.flush(),
            Inner::Zstd(encoder) => encoder.flush(),
        }
    }
}
