//! Frames off a socket.
//!
//! Small reads land in one buffer per connection and are copied out, so that a request's bytes
//! never pin those of its neighbours; what exceeds the buffer is read into the frame directly.
//!
//! **Invariant:** a frame's buffer has exactly the frame's length, and is not made before
//! `FramePrefix::parse` admitted it and the caller obtained its budget.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::Instant;

use super::end::End;
use super::options::ServerOptions;
use super::socket::Socket;
use crate::protocol::{
    FrameError, FramePrefix, PREFIX_BYTES, RequestHeader, Stranger, frame_length,
};

/// Room for several small requests per read.
const BUFFER_BYTES: usize = 8 << 10;
/// Bytes of the length field.
const LENGTH_BYTES: usize = 4;

/// Reads frames of one connection.
pub(super) struct FrameReader<'a> {
    stream: &'a dyn Socket,
    options: &'a ServerOptions,
    shutdown: watch::Receiver<bool>,
    buffer: Box<[u8]>,
    /// The unread part of `buffer`.
    start: usize,
    end: usize,
    /// Whether a frame was read whole: then what follows cannot be a stranger's greeting.
    is_kafka: bool,
}

impl<'a> FrameReader<'a> {
    pub(super) fn new(
        stream: &'a dyn Socket,
        options: &'a ServerOptions,
        shutdown: watch::Receiver<bool>,
    ) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { stream, options, shutdown, buffer, start: 0, end: 0, is_kafka: false }
    }

    /// Waits for the next frame's prefix, which stays in the buffer. `is_busy` tells whether
    /// requests are in work, which keeps a silent connection open.
    pub(super) async fn prefix(&mut self, is_busy: impl Fn() -> bool) -> Result<FramePrefix, End> {
        let mut due = None;
        loop {
            if let Some(prefix) = self.parse_prefix()? {
                return Ok(prefix);
            }
            let got = self.end - self.start;
            let read = if got == 0 {
                self.fill(Instant::now() + self.options.idle_max).await
            } else {
                let limit = self.options.frame_time_max;
                self.fill(*due.get_or_insert_with(|| Instant::now() + limit)).await
            };
            match read {
                Ok(0) if got == 0 => return Err(End::Closed),
                Ok(0) => return Err(End::Truncated { got }),
                Ok(_) => {}
                Err(Wait::Late) if got > 0 => return Err(End::Slow { got }),
                Err(Wait::Late) if is_busy() => {}
                Err(Wait::Late) => return Err(End::Idle),
                Err(Wait::Shutdown) => return Err(End::Shutdown),
                Err(Wait::Io(error)) => return Err(End::Io(error)),
            }
        }
    }

    /// Reads the frame of `prefix`, without its length field. `is_wanted` tells whether others wait
    /// for the bytes that it holds, which ends one that comes too slowly.
    pub(super) async fn frame(
        &mut self,
        prefix: &FramePrefix,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Bytes, End> {
        let length = prefix.length;
        let mut frame = BytesMut::with_capacity(length);
        self.start += LENGTH_BYTES;
        let buffered = length.min(self.end - self.start);
        frame.extend_from_slice(&self.buffer[self.start..self.start + buffered]);
        self.start += buffered;
        let mut pace = Pace::begin(self.options, length, frame.len());
        while frame.len() < length {
            let got = frame.len();
            let mut rest = (&mut frame).limit(length - got);
            let read = match self.stream.try_read(&mut rest) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.readable(pace.next_check()).await {
                        Ok(()) => continue,
                        Err(Wait::Late) if pace.holds(got, &is_wanted) => continue,
                        Err(Wait::Late) => return Err(End::Slow { got }),
                        Err(Wait::Shutdown) => return Err(End::Shutdown),
                        Err(Wait::Io(error)) => return Err(End::Io(error)),
                    }
                }
                other => other?,
            };
            if read == 0 {
                return Err(End::Truncated { got });
            }
        }
        self.is_kafka = true;
        Ok(frame.freeze())
    }

    /// Checks as much of a prefix as has come.
    fn parse_prefix(&self) -> Result<Option<FramePrefix>, End> {
        let limit = self.options.request_bytes_max;
        let unread = &self.buffer[self.start..self.end];
        let outcome = match (unread.first_chunk::<PREFIX_BYTES>(), unread.first_chunk()) {
            (Some(prefix), _) => FramePrefix::parse(*prefix, limit).map(Some),
            (None, Some(length)) => frame_length(*length, limit).map(|_| None),
            (None, None) => Ok(None),
        };
        outcome.map_err(|error| self.refuse(error))
    }

    fn refuse(&self, error: FrameError) -> End {
        let unread = &self.buffer[self.start..self.end];
        match Stranger::recognise(unread) {
            Some(stranger) if !self.is_kafka => End::Stranger(stranger),
            _ => {
                let has_header = matches!(
                    error,
                    FrameError::UnknownApi { .. } | FrameError::UnsupportedVersion { .. }
                );
                let client_id = has_header.then(|| RequestHeader::peek_client_id(unread)).flatten();
                End::Frame { error, client_id: client_id.map(printable) }
            }
        }
    }

    /// Reads once into the buffer, waiting until `due` at most. 0 is the end of the stream.
    async fn fill(&mut self, due: Instant) -> Result<usize, Wait> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        loop {
            match self.stream.try_read(&mut &mut self.buffer[self.end..]) {
                Ok(read) => {
                    self.end += read;
                    return Ok(read);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Wait::Io(error)),
            }
            self.readable(due).await?;
        }
    }

    async fn readable(&mut self, due: Instant) -> Result<(), Wait> {
        if *self.shutdown.borrow_and_update() {
            return Err(Wait::Shutdown);
        }
        tokio::select! {
            biased;
            ready = self.stream.readable() => ready.map_err(Wait::Io),
            // A dropped sender means the same as the signal.
            _ = self.shutdown.changed() => Err(Wait::Shutdown),
            () = tokio::time::sleep_until(due) => Err(Wait::Late),
        }
    }
}

/// How fast a frame comes: whether it is due, and whether it stalls.
struct Pace<'a> {
    options: &'a ServerOptions,
    due: Instant,
    check: Instant,
    got: usize,
}

impl<'a> Pace<'a> {
    fn begin(options: &'a ServerOptions, length: usize, got: usize) -> Self {
        let now = Instant::now();
        let check = now + options.frame_stall_max;
        Self { options, due: now + options.frame_time(length), check, got }
    }

    fn next_check(&self) -> Instant {
        self.check.min(self.due)
    }

    /// Whether the frame may go on at a check, when it has `got` bytes.
    fn holds(&mut self, got: usize, is_wanted: impl Fn() -> bool) -> bool {
        let now = Instant::now();
        let stalls = now >= self.check && got - self.got < self.options.stall_bytes();
        if now >= self.due || (stalls && is_wanted()) {
            return false;
        }
        if now >= self.check {
            (self.check, self.got) = (now + self.options.frame_stall_max, got);
        }
        true
    }
}

/// Why waiting for bytes ended.
enum Wait {
    Late,
    Shutdown,
    Io(io::Error),
}

/// A client's text for a log line: short, and without control characters.
pub(super) fn printable(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    let clean = |letter: char| if letter.is_control() { '\u{fffd}' } else { letter };
    text.chars().take(CHARS_MAX).map(clean).collect()
}
