//! The outline of an LZ4 frame, which the decoder at hand does not insist on.
//!
//! ```text
//! magic u32 · FLG u8 · BD u8 · [content size u64] · header checksum u8
//! blocks, each: size u32, its top bit "not compressed" · bytes · [checksum u32]
//! end mark u32 = 0 · [content checksum u32]
//! ```
//!
//! **Invariant:** what passes is one frame with its end mark and nothing behind it, as Kafka's clients
//! read it: independent blocks, no dictionary.

use std::io::{self, Read};

use lz4_flex::frame::FrameDecoder;

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
const HAS_DICTIONARY: u8 = 0x01;
const HAS_CONTENT_CHECKSUM: u8 = 0x04;
const HAS_CONTENT_SIZE: u8 = 0x08;
const HAS_BLOCK_CHECKSUMS: u8 = 0x10;
const BLOCKS_ARE_INDEPENDENT: u8 = 0x20;
const NOT_COMPRESSED: u32 = 1 << 31;

/// Decompresses one frame.
pub(super) struct Lz4Reader<'a>(FrameDecoder<&'a [u8]>);

impl<'a> Lz4Reader<'a> {
    pub(super) fn new(input: &'a [u8]) -> io::Result<Self> {
        require_one_frame(input)?;
        Ok(Self(FrameDecoder::new(input)))
    }
}

impl Read for Lz4Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(out)?;
        // The decoder takes a block without content for the end.
        if read == 0 && !out.is_empty() && !self.0.get_ref().is_empty() {
            return Err(corrupt("an empty LZ4 block"));
        }
        Ok(read)
    }
}

/// Checks the outline; an empty input is an empty frame.
fn require_one_frame(input: &[u8]) -> io::Result<()> {
    if input.is_empty() {
        return Ok(());
    }
    let rest = input.strip_prefix(&MAGIC).ok_or_else(|| corrupt("not an LZ4 frame"))?;
    let flags = *rest.first().ok_or_else(cut)?;
    if flags & HAS_DICTIONARY != 0 || flags & BLOCKS_ARE_INDEPENDENT == 0 {
        return Err(corrupt("an LZ4 frame with a dictionary or with linked blocks"));
    }
    let has = |flag: u8, bytes: usize| if flags & flag != 0 { bytes } else { 0 };
    let mut rest = after(rest, 2 + has(HAS_CONTENT_SIZE, 8) + 1)?;
    loop {
        let (size, behind) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let size = u32::from_le_bytes(*size);
        if size == 0 {
            let behind = after(behind, has(HAS_CONTENT_CHECKSUM, 4))?;
            return if behind.is_empty() { Ok(()) } else { Err(corrupt("bytes follow the frame")) };
        }
        let bytes = (size & !NOT_COMPRESSED) as usize;
        rest = after(behind, bytes + has(HAS_BLOCK_CHECKSUMS, 4))?;
    }
}

fn after(bytes: &[u8], count: usize) -> io::Result<&[u8]> {
    bytes.get(count..).ok_or_else(cut)
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "an LZ4 frame is cut off")
}

fn corrupt(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
