//! Bytes that are read once, front to back: from memory, or as a codec yields them.
//!
//! **Invariant:** a source never yields bytes beyond its end, and a stream holds no more than one
//! window of them.

use std::io::{self, Read};

/// Bytes of a stream in memory at a time.
const WINDOW_BYTES: usize = 64 << 10;

/// Why a source yields no more.
#[derive(Debug)]
pub(super) enum SourceError {
    /// It has ended.
    End,
    /// The stream is longer than allowed.
    TooLarge,
    /// The stream cannot be read.
    Io(io::Error),
}

/// Bytes in order.
pub(super) trait ByteSource {
    /// The next byte.
    fn byte(&mut self) -> Result<u8, SourceError>;
    /// Passes over bytes.
    fn skip(&mut self, count: usize) -> Result<(), SourceError>;
    /// Passes over bytes; whether they are UTF-8.
    fn skip_text(&mut self, count: usize) -> Result<bool, SourceError>;
    /// Bytes passed so far.
    fn position(&self) -> u64;
    /// How many follow, of a stream at least so many; 0 at the end alone.
    fn left(&mut self) -> Result<usize, SourceError>;
}

/// Bytes in memory.
pub(super) struct SliceSource<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> SliceSource<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline]
    fn take(&mut self, count: usize) -> Result<&'a [u8], SourceError> {
        let taken = self.bytes[self.at..].get(..count).ok_or(SourceError::End)?;
        self.at += count;
        Ok(taken)
    }
}

impl ByteSource for SliceSource<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, SourceError> {
        let byte = *self.bytes.get(self.at).ok_or(SourceError::End)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, count: usize) -> Result<(), SourceError> {
        self.take(count).map(drop)
    }

    fn skip_text(&mut self, count: usize) -> Result<bool, SourceError> {
        Ok(std::str::from_utf8(self.take(count)?).is_ok())
    }

    #[inline]
    fn position(&self) -> u64 {
        self.at as u64
    }

    fn left(&mut self) -> Result<usize, SourceError> {
        Ok(self.bytes.len() - self.at)
    }
}

/// What a reader yields, at most so many bytes.
pub(super) struct StreamSource<R> {
    reader: R,
    window: Vec<u8>,
    at: usize,
    filled: usize,
    /// Bytes before the window.
    before: u64,
    bytes_max: u64,
}

impl<R: Read> StreamSource<R> {
    pub(super) fn new(reader: R, bytes_max: usize) -> Self {
        let window = vec![0; WINDOW_BYTES];
        Self { reader, window, at: 0, filled: 0, before: 0, bytes_max: bytes_max as u64 }
    }

    /// Makes the window hold at least one more byte; false at the end.
    #[cold]
    fn refill(&mut self) -> Result<bool, SourceError> {
        self.before += self.filled as u64;
        (self.at, self.filled) = (0, 0);
        self.filled = loop {
            match self.reader.read(&mut self.window) {
                Ok(filled) => break filled,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SourceError::Io(error)),
            }
        };
        if self.before + self.filled as u64 > self.bytes_max {
            return Err(SourceError::TooLarge);
        }
        Ok(self.filled > 0)
    }

    /// Passes over up to `count` bytes that lie in the window, at least one.
    fn chunk(&mut self, count: usize) -> Result<&[u8], SourceError> {
        if self.at == self.filled && !self.refill()? {
            return Err(SourceError::End);
        }
        let start = self.at;
        self.at += count.min(self.filled - start);
        Ok(&self.window[start..self.at])
    }
}

impl<R: Read> ByteSource for StreamSource<R> {
    #[inline]
    fn byte(&mut self) -> Result<u8, SourceError> {
        if self.at == self.filled && !self.refill()? {
            return Err(SourceError::End);
        }
        let byte = self.window[self.at];
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn skip(&mut self, mut count: usize) -> Result<(), SourceError> {
        while count > 0 {
            count -= self.chunk(count)?.len();
        }
        Ok(())
    }

    fn skip_text(&mut self, mut count: usize) -> Result<bool, SourceError> {
        let mut text = Utf8Check::default();
        while count > 0 {
            let chunk = self.chunk(count)?;
            count -= chunk.len();
            text.push(chunk);
        }
        Ok(text.is_text())
    }

    fn position(&self) -> u64 {
        self.before + self.at as u64
    }

    fn left(&mut self) -> Result<usize, SourceError> {
        if self.at == self.filled {
            self.refill()?;
        }
        Ok(self.filled - self.at)
    }
}

/// Whether text that comes in pieces is UTF-8.
#[derive(Default)]
struct Utf8Check {
    /// The bytes of a character that the last piece cut, at most three, then up to one more character.
    cut: Vec<u8>,
    is_broken: bool,
}

impl Utf8Check {
    fn push(&mut self, mut piece: &[u8]) {
        while !self.is_broken && !self.cut.is_empty() {
            let Some((first, rest)) = piece.split_first() else { return };
            self.cut.push(*first);
            piece = rest;
            match std::str::from_utf8(&self.cut) {
                Ok(_) => self.cut.clear(),
                Err(error) => self.is_broken = error.error_len().is_some(),
            }
        }
        if let Err(error) = std::str::from_utf8(piece) {
            self.is_broken |= error.error_len().is_some();
            self.cut = piece[error.valid_up_to()..].to_vec();
        }
    }

    fn is_text(&self) -> bool {
        !self.is_broken && self.cut.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Yields a few bytes at a time.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(out.len());
            self.0.read(&mut out[..count])
        }
    }

    proptest! {
        #[test]
        fn pieces_of_text_are_judged_as_the_whole(
            text in "[aä€😀]{0,30}",
            broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
            step in 1_usize..6,
        ) {
            let mut bytes = text.into_bytes();
            if let (Some((at, byte)), false) = (broken, bytes.is_empty()) {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let expected = std::str::from_utf8(&bytes).is_ok();
            let mut stream = StreamSource::new(Trickle(&bytes, step), 1_000);
            prop_assert_eq!(stream.skip_text(bytes.len()).unwrap(), expected);
            prop_assert_eq!(stream.left().unwrap(), 0);
            prop_assert_eq!(stream.position(), bytes.len() as u64);
        }
    }

    #[test]
    fn both_sources_end_where_their_bytes_end() {
        let bytes = [7; 10];
        let mut slice = SliceSource::new(&bytes);
        let mut stream = StreamSource::new(Trickle(&bytes, 3), 10);
        let sources: [&mut dyn ByteSource; 2] = [&mut slice, &mut stream];
        for source in sources {
            assert_eq!(source.byte().unwrap(), 7);
            source.skip(8).unwrap();
            assert_eq!(source.left().unwrap(), 1);
            assert!(matches!(source.skip(usize::MAX), Err(SourceError::End)));
        }
        let mut long = StreamSource::new(Trickle(&bytes, 3), 8);
        assert!(matches!(long.skip(9), Err(SourceError::TooLarge)));
    }
}
