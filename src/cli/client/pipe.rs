//! One connection to one broker with many requests under way: whole frames out, whole frames in.
//!
//! **Invariant:** [`Pipe::turn`] may be dropped at any wait: what it has read and written is kept.
//! **Invariant:** after an error the pipe is not used again.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, IoSlice};

use bytes::{Buf as _, Bytes, BytesMut};
use kafka_wire::RequestResponsePair;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connection::{CLIENT_ID, Connection};
use super::error::ClientFailure;
use crate::protocol::client::{Negotiated, decode_response, encode_request, response_length};

/// Parts given to the socket in one call.
const PARTS_MAX: usize = 64;
/// Free bytes in front of each read.
const READ_BYTES: usize = 64 * 1024;

/// A connection whose requests and answers are not tied to one another's pace.
pub(crate) struct Pipe {
    address: String,
    socket: TcpStream,
    negotiated: Negotiated,
    correlation_id: i32,
    /// Largest answer taken, bytes.
    answer_bytes_max: usize,
    out: VecDeque<Bytes>,
    incoming: BytesMut,
}

impl Pipe {
    /// Connects to `address`; an answer of more than `answer_bytes_max` is not the protocol's.
    ///
    /// # Errors
    /// As for any connection: nobody there, silence until `deadline`, or no Kafka broker.
    pub(crate) async fn open(
        address: &str,
        answer_bytes_max: usize,
        deadline: Instant,
    ) -> Result<Self, ClientFailure> {
        let (socket, negotiated) = Connection::open(address, deadline).await?.into_parts();
        Ok(Self {
            address: address.to_owned(),
            socket,
            negotiated,
            correlation_id: 0,
            answer_bytes_max,
            out: VecDeque::new(),
            incoming: BytesMut::new(),
        })
    }

    /// The newest version of `R` that both sides speak, at most `version_max`.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn version<R: RequestResponsePair>(
        &self,
        version_max: i16,
    ) -> Result<i16, ClientFailure> {
        let version = self.negotiated.version::<R>();
        version.map(|newest| newest.min(version_max)).map_err(|source| self.protocol(source))
    }

    /// A number for the next request; its answer carries it.
    pub(crate) fn next_correlation(&mut self) -> i32 {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        self.correlation_id
    }

    /// Queues a request's frame. [`Self::turn`] sends it.
    pub(crate) fn queue(&mut self, parts: impl IntoIterator<Item = Bytes>) {
        self.out.extend(parts);
    }

    /// Encodes a request and queues it; the number its answer will carry.
    ///
    /// # Errors
    /// `version` cannot express it.
    pub(crate) fn queue_request<R: RequestResponsePair>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<i32, ClientFailure> {
        let correlation = self.next_correlation();
        let frame = encode_request(request, version, correlation, CLIENT_ID)
            .map_err(|source| self.protocol(source))?;
        self.out.push_back(frame);
        Ok(correlation)
    }

    /// Sends and receives until a whole answer is there, or until the last byte queued is sent
    /// (`None`, only if there was one).
    ///
    /// # Errors
    /// The connection broke or was closed, or a length that no answer has.
    pub(crate) async fn turn(&mut self) -> std::io::Result<Option<Bytes>> {
        loop {
            if let Some(frame) = self.take_frame()? {
                return Ok(Some(frame));
            }
            let (mut reader, mut writer) = self.socket.split();
            let sending = !self.out.is_empty();
            let slices: Vec<IoSlice<'_>> =
                self.out.iter().take(PARTS_MAX).map(|part| IoSlice::new(part)).collect();
            tokio::select! {
                biased;
                written = writer.write_vectored(&slices), if sending => {
                    let written = written?;
                    if self.advance(written) {
                        return Ok(None);
                    }
                }
                read = reader.read_buf(&mut self.incoming) => {
                    if read? == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
            }
        }
    }

    /// Forgets `written` bytes that the socket has taken; whether they were the last.
    fn advance(&mut self, mut written: usize) -> bool {
        while let Some(part) = self.out.front_mut() {
            if part.len() > written {
                part.advance(written);
                return false;
            }
            written -= part.len();
            self.out.pop_front();
        }
        true
    }

    /// The next whole answer, without its length; else makes room for what is missing of it.
    fn take_frame(&mut self) -> std::io::Result<Option<Bytes>> {
        let Some(prefix) = self.incoming.first_chunk::<4>() else {
            self.incoming.reserve(READ_BYTES);
            return Ok(None);
        };
        let length = response_length(*prefix, self.answer_bytes_max)
            .map_err(|error| Error::new(ErrorKind::InvalidData, error.to_string()))?;
        let missing = (4 + length).saturating_sub(self.incoming.len());
        if missing > 0 {
            self.incoming.reserve(missing.max(READ_BYTES));
            return Ok(None);
        }
        self.incoming.advance(4);
        Ok(Some(self.incoming.split_to(length).freeze()))
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// It is malformed, or answers another request.
    pub(crate) fn decode<R: RequestResponsePair>(
        &self,
        frame: Bytes,
        version: i16,
        correlation: i32,
    ) -> Result<R::Response, ClientFailure> {
        decode_response::<R>(frame, version, correlation).map_err(|source| self.protocol(source))
    }

    /// The connection broke while `api` was under way.
    pub(crate) fn broken(&self, api: &'static str, source: Error) -> ClientFailure {
        ClientFailure::Broken { address: self.address.clone(), api, source }
    }

    fn protocol(&self, source: crate::protocol::client::ClientError) -> ClientFailure {
        ClientFailure::Protocol { address: self.address.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Pipe, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket = TcpStream::connect(address).await.unwrap();
        let pipe = Pipe {
            address: address.to_string(),
            socket,
            negotiated: Negotiated::default(),
            correlation_id: 0,
            answer_bytes_max: 1 << 20,
            out: VecDeque::new(),
            incoming: BytesMut::new(),
        };
        (pipe, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn parts_arrive_in_order_while_answers_come_in() {
        let (mut pipe, mut broker) = pair().await;
        // More than the socket's buffers hold, in more parts than one call takes.
        let parts: Vec<Bytes> = (0..200_u8).map(|n| Bytes::from(vec![n; 100_000])).collect();
        let sent: Vec<u8> = parts.iter().flatten().copied().collect();
        pipe.queue(parts);
        let answers = [&b"\0\0\0\x05first"[..], b"\0\0\0\x06second"].concat();
        let other_side = tokio::spawn(async move {
            broker.write_all(&answers).await.unwrap();
            let mut got = vec![0; 20_000_000];
            broker.read_exact(&mut got).await.unwrap();
            broker.write_all(b"\0\0\0\x04last").await.unwrap();
            (got, broker)
        });
        let mut frames = Vec::new();
        while frames.len() < 3 {
            frames.extend(pipe.turn().await.unwrap());
        }
        assert!(pipe.out.is_empty());
        assert_eq!(frames, [&b"first"[..], b"second", b"last"]);
        let (got, broker) = other_side.await.unwrap();
        assert!(got == sent);
        drop(broker);
        assert_eq!(pipe.turn().await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_length_that_no_answer_has_is_refused() {
        let (mut pipe, mut broker) = pair().await;
        broker.write_all(&[0x7f, 0, 0, 0]).await.unwrap();
        assert_eq!(pipe.turn().await.unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
