//! A stretch of a segment that goes to a socket without passing through user space.
//!
//! **Invariant:** a slice lies below the high watermark, which is never truncated, and holds its
//! segment, so it stays readable after that is deleted. The file is opened to be sent: an answer from a
//! hundred small segments needs one descriptor at a time.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::Errno;

use super::LogError;
use super::segment::Segment;

/// Told what goes wrong when a slice is read or sent, long after it was found.
pub trait ReadWatch: Send + Sync {
    /// A log could not be read.
    fn failed(&self, error: &LogError);
}

/// `len` bytes of a file from `position` on.
#[derive(Clone)]
pub struct FileSlice {
    segment: Arc<Segment>,
    position: u64,
    len: usize,
    watch: Option<Arc<dyn ReadWatch>>,
}

impl FileSlice {
    pub(super) fn new(
        segment: Arc<Segment>,
        position: u64,
        len: usize,
        watch: Option<Arc<dyn ReadWatch>>,
    ) -> Self {
        Self { segment, position, len, watch }
    }

    /// Bytes in the slice.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Drops the first `count` bytes (all, if there are fewer): they were sent.
    pub fn advance(&mut self, count: usize) {
        let count = count.min(self.len);
        self.position += count as u64;
        self.len -= count;
    }

    /// Reads the whole slice into memory.
    ///
    /// # Errors
    /// Of the operating system.
    pub fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.len];
        self.file()?
            .read_exact_at(&mut bytes, self.position)
            .map_err(|error| self.failed("read", error))?;
        Ok(Bytes::from(bytes))
    }

    /// Sends up to `max` bytes of the slice to a socket by `sendfile(2)` and drops what was taken.
    /// Returns the bytes taken; fewer than asked for when the socket's buffer is full.
    ///
    /// # Errors
    /// `WouldBlock` when a non-blocking socket takes nothing now; `UnexpectedEof` when the file ends
    /// before the slice; else of the operating system.
    pub fn send_to(&mut self, socket: impl AsFd, max: usize) -> io::Result<usize> {
        let mut offset = self.position;
        let want = self.len.min(max);
        if want == 0 {
            return Ok(0);
        }
        match rustix::fs::sendfile(socket, &*self.file()?, Some(&mut offset), want) {
            Ok(0) => Err(self.failed("send", io::ErrorKind::UnexpectedEof.into())),
            Ok(sent) => {
                self.advance(sent);
                Ok(sent)
            }
            Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            Err(errno) => Err(self.failed("send", errno.into())),
        }
    }

    fn file(&self) -> io::Result<Arc<File>> {
        self.segment.file().map_err(|error| self.tell(error))
    }

    fn failed(&self, doing: &'static str, error: io::Error) -> io::Error {
        self.tell(LogError::io(doing, &self.segment.path)(error))
    }

    fn tell(&self, error: LogError) -> io::Error {
        if let Some(watch) = &self.watch {
            watch.failed(&error);
        }
        error.into()
    }
}

impl std::fmt::Debug for FileSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileSlice({} bytes at {})", self.len, self.position)
    }
}

/// Bytes in all of `slices`.
#[must_use]
pub fn slices_len(slices: &[FileSlice]) -> usize {
    slices.iter().map(FileSlice::len).sum()
}
