//! Record bytes of a fetch response, wherever they lie.

use std::io;
use std::os::fd::BorrowedFd;

use bytes::{Buf, Bytes};

use crate::protocol::RecordSlice;
use crate::storage::FileSlice;

/// A run of record bytes that can be sent to a socket piece by piece.
pub trait RecordSource: RecordSlice + Send + Sync + 'static {
    /// Sends up to `max` bytes to a non-blocking socket and drops what was taken, so that
    /// [`RecordSlice::len`] is what remains. Returns the bytes taken.
    ///
    /// # Errors
    /// `WouldBlock` when the socket takes nothing now; anything else ends the connection.
    fn send_to(&mut self, socket: BorrowedFd<'_>, max: usize) -> io::Result<usize>;

    /// Reads what remains into memory, for encrypted connections and tests.
    ///
    /// # Errors
    /// Of the operating system.
    fn read(&self) -> io::Result<Bytes>;
}

/// What responses hold.
pub type Records = Box<dyn RecordSource>;

/// Records that are in memory already.
impl RecordSource for Bytes {
    fn send_to(&mut self, socket: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        let part = &self[..self.len().min(max)];
        let sent = rustix::net::send(socket, part, rustix::net::SendFlags::NOSIGNAL)?;
        self.advance(sent);
        Ok(sent)
    }

    fn read(&self) -> io::Result<Bytes> {
        Ok(self.clone())
    }
}

impl std::fmt::Debug for dyn RecordSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes of records", self.len())
    }
}

impl RecordSlice for FileSlice {
    fn len(&self) -> usize {
        Self::len(self)
    }
}

/// Records in a segment: `sendfile(2)` moves them without a copy in user space.
impl RecordSource for FileSlice {
    fn send_to(&mut self, socket: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        Self::send_to(self, socket, max)
    }

    fn read(&self) -> io::Result<Bytes> {
        Self::read(self)
    }
}
