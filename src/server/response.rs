//! Responses onto a socket: gathered writes for bytes, `sendfile(2)` for records.
//!
//! **Invariant:** bytes leave in the order in which they were queued, however little the socket
//! takes at a time.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::Buf;
use tokio::time::Instant;

use super::end::End;
use super::socket::Socket;
use crate::handlers::{Records, Response};
use crate::protocol::Piece;

/// Buffers of one gathered write.
const SLICES_MAX: usize = 64;
/// Bytes of one `sendfile`, so that a file that must come from the disk does not keep the other
/// connections of a thread waiting for long; clients ask for so much of a partition as a rule.
const SENDFILE_BYTES_MAX: usize = 1 << 20;
/// Queued bytes beyond which no further response is added before they are written.
const QUEUE_BYTES: usize = 256 << 10;

/// The output of one connection.
pub(super) struct ResponseWriter<'a> {
    stream: &'a dyn Socket,
    stall_max: Duration,
    queue: VecDeque<Piece<Records>>,
    /// Bytes in `queue`.
    bytes: usize,
    /// Records in `queue`.
    records: usize,
    is_corked: bool,
    /// When the client must have taken the next bytes.
    due: Instant,
}

impl<'a> ResponseWriter<'a> {
    pub(super) fn new(stream: &'a dyn Socket, stall_max: Duration) -> Self {
        Self {
            stream,
            stall_max,
            queue: VecDeque::new(),
            bytes: 0,
            records: 0,
            is_corked: false,
            due: Instant::now(),
        }
    }

    /// Queues a response.
    pub(super) fn push(&mut self, response: Response) {
        if self.queue.is_empty() {
            self.due = Instant::now() + self.stall_max;
        }
        self.bytes += response.bytes();
        for piece in response.into_pieces() {
            self.records += usize::from(matches!(piece, Piece::Records(_)));
            self.queue.push_back(piece);
        }
    }

    /// Whether nothing is queued.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether enough is queued to be written before more is added.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= QUEUE_BYTES || self.queue.len() >= SLICES_MAX
    }

    /// Writes all that is queued. Dropped half-way and called again, it goes on where it was.
    pub(super) async fn flush(&mut self) -> Result<(), End> {
        // Corked, the few bytes after the records leave in one segment with them: each segment may have
        // to wake the client. Records at the end push what is before them.
        let ends_with_records = matches!(self.queue.back(), Some(Piece::Records(_)));
        if self.records > usize::from(ends_with_records) && !self.is_corked {
            self.cork(true)?;
        }
        while let Some(front) = self.queue.front_mut() {
            let written = match front {
                Piece::Records(records) => match send(self.stream, records, self.due).await? {
                    Some(sent) => sent,
                    None => {
                        *front = Piece::Bytes(records.read()?);
                        self.records -= 1;
                        continue;
                    }
                },
                Piece::Bytes(_) => self.write_bytes().await?,
            };
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            self.written(written);
        }
        if self.is_corked {
            self.cork(false)?;
        }
        Ok(())
    }

    /// Writes some of the bytes up to the next records.
    async fn write_bytes(&mut self) -> Result<usize, End> {
        loop {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.queue) {
                let Piece::Bytes(bytes) = piece else { break };
                *slice = IoSlice::new(bytes);
                count += 1;
            }
            // A header waits for the records behind it.
            let more = count < self.queue.len() && count < SLICES_MAX;
            match self.stream.try_write(&slices[..count], more) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return Ok(other?),
            }
            within(self.due, self.stream.writable()).await?;
        }
    }

    /// Drops what the socket took. Records have dropped it themselves.
    fn written(&mut self, written: usize) {
        self.due = Instant::now() + self.stall_max;
        self.bytes -= written;
        let mut rest = written;
        while let Some(front) = self.queue.front_mut() {
            match front {
                Piece::Records(records) if records.len() == 0 => {
                    self.records -= 1;
                    self.queue.pop_front();
                    return;
                }
                Piece::Records(_) => return,
                Piece::Bytes(bytes) => {
                    let part = rest.min(bytes.len());
                    bytes.advance(part);
                    rest -= part;
                    if !bytes.is_empty() {
                        return;
                    }
                    self.queue.pop_front();
                    if rest == 0 {
                        return;
                    }
                }
            }
        }
    }

    fn cork(&mut self, on: bool) -> io::Result<()> {
        self.stream.cork(on)?;
        self.is_corked = on;
        Ok(())
    }
}

/// Sends some of `records`; `None` where they have to be read and written.
async fn send(
    stream: &dyn Socket,
    records: &mut Records,
    due: Instant,
) -> Result<Option<usize>, End> {
    loop {
        match stream.try_send(records, SENDFILE_BYTES_MAX) {
            None => return Ok(None),
            Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Some(sent) => return Ok(Some(sent?)),
        }
        within(due, stream.writable()).await?;
    }
}

async fn within<T>(due: Instant, io: impl Future<Output = io::Result<T>>) -> Result<T, End> {
    match tokio::time::timeout_at(due, io).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(End::Stalled),
    }
}
