//! Just enough HTTP to read JSON from a node's admin endpoint.

use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Largest answer read.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Reads `http://{address}{path}` and decodes its JSON.
///
/// # Errors
/// No answer within `wait`, a status other than 200, or JSON of another shape.
pub(crate) async fn get_json<T: DeserializeOwned>(
    address: &str,
    path: &str,
    wait: Duration,
) -> anyhow::Result<T> {
    let answer = timeout(wait, get(address, path))
        .await
        .with_context(|| format!("http://{address}{path} did not answer in time"))?
        .with_context(|| format!("http://{address}{path} cannot be read"))?;
    serde_json::from_slice(body(&answer)?)
        .with_context(|| format!("http://{address}{path} answers something else"))
}

async fn get(address: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn body(answer: &[u8]) -> anyhow::Result<&[u8]> {
    let split = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let Some(split) = split else { bail!("not an HTTP answer") };
    let head = String::from_utf8_lossy(&answer[..split]);
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        bail!("HTTP status {status}");
    }
    Ok(&answer[split + 4..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_the_head_and_checks_the_status() {
        assert_eq!(body(b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}").unwrap(), b"{}");
        assert!(body(b"HTTP/1.1 503 No\r\n\r\n{}").is_err());
        assert!(body(b"\x00\x00").is_err());
    }
}
