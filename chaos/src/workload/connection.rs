//! One connection to one broker, for requests that are meant for that node whoever leads.
//!
//! **Invariant:** every step is bounded by the time-out. After an error the connection is of no further
//! use, since an answer may still come.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{
    Decodable as _, HeaderVersion as _, Request, StrBytes, encode_request_header_into_buffer,
};

/// Largest answer read, bytes.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// See the file's head.
#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    correlation: i32,
}

impl Connection {
    /// The connection in `slot`, made if there is none.
    ///
    /// # Errors
    /// Nobody accepts in time.
    pub(super) fn held(
        slot: &mut Option<Self>,
        broker: SocketAddr,
        timeout: Duration,
    ) -> Result<&mut Self> {
        Ok(match slot {
            Some(connection) => connection,
            None => slot.insert(Self::to(broker, timeout)?),
        })
    }

    /// Connects.
    ///
    /// # Errors
    /// Nobody accepts in time.
    pub(super) fn to(broker: SocketAddr, timeout: Duration) -> Result<Self> {
        let socket = TcpStream::connect_timeout(&broker, timeout)?;
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, correlation: 0 })
    }

    /// Sends a request in `version` and waits for its answer.
    ///
    /// # Errors
    /// The connection, the time-out, or an answer that is not the request's.
    pub(super) fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response> {
        self.correlation += 1;
        self.socket.write_all(&frame(self.correlation, version, request)?)?;
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
        let mut answer = vec![0; length];
        self.socket.read_exact(&mut answer)?;
        parse::<R>(self.correlation, version, answer.into())
    }
}

/// The request with its length and header.
fn frame<R: Request>(correlation: i32, version: i16, request: &R) -> Result<BytesMut> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str("jackdaw-chaos")));
    let mut frame = BytesMut::new();
    frame.put_u32(0);
    encode_request_header_into_buffer(&mut frame, &header)?;
    request.encode(&mut frame, version)?;
    let length = u32::try_from(frame.len() - 4)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

/// The answer behind its length.
fn parse<R: Request>(correlation: i32, version: i16, mut answer: Bytes) -> Result<R::Response> {
    let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version))?;
    ensure!(header.correlation_id == correlation, "an answer to another request");
    let response = R::Response::decode(&mut answer, version).context("decoding an answer")?;
    ensure!(!answer.has_remaining(), "{} bytes behind an answer", answer.remaining());
    Ok(response)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::ApiVersionsRequest;

    use super::*;

    #[test]
    fn a_frame_is_length_header_and_body() {
        let frame = frame(7, 0, &ApiVersionsRequest::default()).unwrap();
        let mut expected = vec![0, 0, 0, 23, 0, 18, 0, 0, 0, 0, 0, 7, 0, 13];
        expected.extend_from_slice(b"jackdaw-chaos");
        assert_eq!(frame, expected);
    }

    #[test]
    fn an_answer_to_another_request_is_an_error() {
        let answer = |bytes: &'static [u8]| {
            parse::<ApiVersionsRequest>(7, 0, Bytes::from_static(bytes))
                .map(|found| found.error_code)
        };
        assert_eq!(answer(&[0, 0, 0, 7, 0, 35, 0, 0, 0, 0]).unwrap(), 35);
        assert!(answer(&[0, 0, 0, 8, 0, 35, 0, 0, 0, 0]).is_err());
        assert!(answer(&[0, 0, 0, 7, 0, 35, 0, 0, 0, 0, 1]).is_err());
        assert!(answer(&[0, 0, 0, 7, 0]).is_err());
    }
}
