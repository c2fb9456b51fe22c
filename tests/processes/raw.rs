//! A Kafka client of two requests, for what a client library would slow down or refuse to send.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// ApiVersions v0, correlation id 1, client id "t".
pub(crate) const API_VERSIONS: &[u8] = &[0, 0, 0, 11, 0, 18, 0, 0, 0, 0, 0, 1, 0, 1, b't'];
/// Metadata v1 of all topics (a null array), correlation id 2, client id "t".
pub(crate) const METADATA: &[u8] =
    &[0, 0, 0, 15, 0, 3, 0, 1, 0, 0, 0, 2, 0, 1, b't', 0xff, 0xff, 0xff, 0xff];

/// A connection with bounded waits.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.set_write_timeout(Some(TIMEOUT))?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

/// Sends a whole frame and reads the answer's body after its length and correlation id.
pub(crate) fn call(socket: &mut TcpStream, frame: &[u8]) -> io::Result<Vec<u8>> {
    socket.write_all(frame)?;
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    socket.read_exact(&mut answer)?;
    if answer.get(..4) != frame.get(8..12) {
        return Err(io::Error::other("the answer has another correlation id"));
    }
    Ok(answer.split_off(4))
}

/// Whether the broker answers ApiVersions and Metadata without an error; names itself as a broker.
pub(crate) fn works(address: SocketAddr) -> io::Result<bool> {
    let mut socket = connect(address)?;
    let versions = call(&mut socket, API_VERSIONS)?;
    let metadata = call(&mut socket, METADATA)?;
    // The first field of ApiVersions v0 is its error, that of Metadata v1 the count of brokers.
    Ok(versions.starts_with(&[0, 0]) && !metadata.starts_with(&[0, 0, 0, 0]))
}
