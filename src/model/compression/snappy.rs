//! Snappy, plain or in the framing of the xerial library that Kafka's Java client uses.
//!
//! ```text
//! plain    one snappy block, which begins with its uncompressed length
//! xerial   82 "SNAPPY" 00 · version i32 · lowest compatible version i32 · blocks, each:
//!          length i32 · one snappy block
//! ```

use std::io::{self, Read, Write};

/// Head of xerial's stream: magic, then version 1 and lowest compatible version 1.
const XERIAL_HEAD: [u8; 16] = *b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";
const XERIAL_MAGIC_BYTES: usize = 8;
/// Uncompressed bytes per xerial block, its own default.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;
/// The most that a byte of a block can become: three bytes copy at most 64.
const EXPANSION_MAX: usize = 22;

/// Decompresses block by block.
pub(super) struct SnappyReader<'a> {
    /// What follows the current block.
    rest: &'a [u8],
    is_xerial: bool,
    block: Vec<u8>,
    at: usize,
    block_bytes_max: usize,
}

impl<'a> SnappyReader<'a> {
    /// A reader of `input`, no block of which may hold more than `block_bytes_max`.
    pub(super) fn new(input: &'a [u8], block_bytes_max: usize) -> io::Result<Self> {
        let is_xerial = input.starts_with(&XERIAL_HEAD[..XERIAL_MAGIC_BYTES]);
        let head = if is_xerial { XERIAL_HEAD.len() } else { 0 };
        let rest = input.get(head..).ok_or_else(cut)?;
        Ok(Self { rest, is_xerial, block: Vec::new(), at: 0, block_bytes_max })
    }

    fn next_block(&mut self) -> io::Result<()> {
        let block = if self.is_xerial {
            let (length, after) = self.rest.split_first_chunk::<4>().ok_or_else(cut)?;
            let length = u32::from_be_bytes(*length) as usize;
            let (block, after) = after.split_at_checked(length).ok_or_else(cut)?;
            self.rest = after;
            block
        } else {
            std::mem::take(&mut self.rest)
        };
        let length = snap::raw::decompress_len(block)?;
        if length > block.len().saturating_mul(EXPANSION_MAX) {
            let why = "a snappy block claims more than it can hold";
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        if length > self.block_bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.block.resize(length, 0);
        self.at = 0;
        snap::raw::Decoder::new().decompress(block, &mut self.block)?;
        Ok(())
    }
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "a snappy block is cut off")
}

impl Read for SnappyReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() && !self.rest.is_empty() {
            self.next_block()?;
        }
        let read = (&self.block[self.at..]).read(out)?;
        self.at += read;
        Ok(read)
    }
}

/// Compresses into xerial's framing.
pub(super) struct XerialWriter<W: Write> {
    out: W,
    /// Bytes that do not fill a block yet.
    block: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl<W: Write> XerialWriter<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&XERIAL_HEAD)?;
        Ok(Self {
            out,
            block: Vec::with_capacity(XERIAL_BLOCK_BYTES),
            encoder: snap::raw::Encoder::new(),
        })
    }

    fn write_block(&mut self) -> io::Result<()> {
        let packed = self.encoder.compress_vec(&self.block)?;
        self.block.clear();
        self.out.write_all(&(packed.len() as u32).to_be_bytes())?;
        self.out.write_all(&packed)
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() {
            self.write_block()?;
        }
        Ok(self.out)
    }
}

impl<W: Write> Write for XerialWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(XERIAL_BLOCK_BYTES - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        if self.block.len() == XERIAL_BLOCK_BYTES {
            self.write_block()?;
        }
        Ok(taken)
    }

    // Blocks are written when they are full, or at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
