//! How nodes reach one another: over the machine's TCP, or over a network that is simulated.
//!
//! **Invariant:** whatever is beneath, a connection refused means that nobody listens there: it is taken
//! for proof that a peer is gone.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Bytes that the peer's machine has not confirmed, or has no room for, for so long end their connection. Heartbeats find
/// out sooner about the main one; over the one for old entries nobody else asks.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(15);

/// Both directions of a connection.
pub struct Connection {
    /// What the peer sends.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What goes to the peer.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

/// Makes connections.
pub trait Connect: Send + Sync {
    /// Connects to `address`, `host:port`.
    ///
    /// # Errors
    /// `ConnectionRefused` where nobody listens; else of the network.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Connection>>;
}

/// An address that is taken, and not listened at yet.
pub trait Bound: Send {
    /// Listens. Called in the runtime that the connections will be served by.
    ///
    /// # Errors
    /// Of the network.
    fn listen(self: Box<Self>) -> io::Result<Box<dyn Listener>>;
}

/// Where peers connect to.
pub trait Listener: Send + Sync {
    /// The next connection, and whence it comes.
    ///
    /// # Errors
    /// Of the network; the next call may succeed.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>>;
}

/// The network that a node dials in.
#[derive(Clone)]
pub struct Network(Arc<dyn Connect>);

impl Network {
    /// One of another kind.
    pub fn new(connect: impl Connect + 'static) -> Self {
        Self(Arc::new(connect))
    }
}

impl Connect for Network {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        self.0.connect(address)
    }
}

/// The machine's.
impl Default for Network {
    fn default() -> Self {
        Self::new(Tcp)
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Network")
    }
}

struct Tcp;

impl Connect for Tcp {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move { connection(TcpStream::connect(address).await?) })
    }
}

impl Bound for std::net::TcpListener {
    fn listen(self: Box<Self>) -> io::Result<Box<dyn Listener>> {
        self.set_nonblocking(true)?;
        Ok(Box::new(TcpListener::from_std(*self)?))
    }
}

impl Bound for Box<dyn Bound> {
    fn listen(self: Box<Self>) -> io::Result<Box<dyn Listener>> {
        (*self).listen()
    }
}

impl Listener for TcpListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>> {
        Box::pin(async move {
            let (socket, from) = self.accept().await?;
            Ok((connection(socket)?, from))
        })
    }
}

fn connection(socket: TcpStream) -> io::Result<Connection> {
    socket.set_nodelay(true)?;
    rustix::net::sockopt::set_tcp_user_timeout(&socket, UNCONFIRMED_MAX.as_millis() as u32)?;
    let (reader, writer) = socket.into_split();
    Ok(Connection { reader: Box::new(reader), writer: Box::new(writer) })
}
