//! One HTTP/1.1 request over a fresh connection: enough for a node's own endpoint.
//!
//! **Invariant:** every step is bounded by the time-out, so that a paused node cannot hold a run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Largest answer read, bytes: a view of a few thousand partitions takes about 1 MB.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// The body.
    pub body: String,
}

/// `GET path`.
///
/// # Errors
/// The connection, the time-out, or an answer that is not HTTP.
pub fn get(address: SocketAddr, path: &str, timeout: Duration) -> Result<Answer> {
    request(address, "GET", path, "", timeout)
}

/// Sends one request with a JSON body (or an empty one) and reads the answer to its end.
///
/// # Errors
/// The connection, the time-out, or an answer that is not HTTP.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
    timeout: Duration,
) -> Result<Answer> {
    let mut socket = TcpStream::connect_timeout(&address, timeout)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.set_write_timeout(Some(timeout))?;
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(head.as_bytes())?;
    socket.write_all(body.as_bytes())?;
    let mut bytes = Vec::new();
    socket.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes)?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let text = std::str::from_utf8(bytes).context("the answer is not UTF-8")?;
    let (head, body) = text.split_once("\r\n\r\n").context("the answer has no head")?;
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|line| line.get(..3))
        .and_then(|code| code.parse().ok())
        .context("the answer has no status line")?;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        match name.to_ascii_lowercase().as_str() {
            "transfer-encoding" => bail!("the answer is chunked, which is not read here"),
            "content-length" if value.trim().parse() != Ok(body.len()) => {
                bail!("the answer ends after {} of {} bytes", body.len(), value.trim())
            }
            _ => {}
        }
    }
    Ok(Answer { status, body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = parse(b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        assert_eq!(answer, Answer { status: 503, body: "{}".into() });
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        for (bytes, reason) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}"[..], "ends after 2 of 3"),
            (b"HTTP/1.1 200 OK\r\n", "no head"),
            (b"SSH-2.0\r\n\r\n", "no status line"),
            (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0", "chunked"),
        ] {
            let error = parse(bytes).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
