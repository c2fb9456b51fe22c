//! turmoil's network, as nodes and clients use it.
//!
//! turmoil tells whoever connects across a cut link that the connection was refused, which says that nobody
//! listens. A real network says nothing, and nodes rely on the difference: here such a connection waits.

use std::collections::BTreeMap;
use std::future::{pending, poll_fn};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use anyhow::Context as _;
use bytes::{Buf, BufMut, BytesMut};
use jackdaw::broker::{Bind, Listeners};
use jackdaw::config::ListenerConfig;
use jackdaw::server::{Listener, Socket};
use jackdaw_raft::{Bound, BoxFuture, Connect, Connection};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Notify;
use turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use turmoil::net::{TcpListener, TcpStream};

/// Bytes that a socket takes before they are on their way.
const OUT_BYTES_MAX: usize = 256 << 10;
/// Bytes of one read.
const READ_BYTES: usize = 16 << 10;
/// Bytes of one message.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Which links are cut, and how often they were: a name and a name, the smaller first.
#[derive(Default)]
pub(crate) struct Cuts(Mutex<BTreeMap<(String, String), Cut>>);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Cut {
    /// Reasons for which it is cut now.
    holding: u32,
    count: u64,
}

impl Cuts {
    fn links(&self) -> MutexGuard<'_, BTreeMap<(String, String), Cut>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link is cut, in one direction or both.
    pub(crate) fn cut(&self, a: &str, b: &str) {
        let mut links = self.links();
        let cut = links.entry(key(a, b)).or_default();
        cut.holding += 1;
        cut.count += 1;
    }

    /// One cut of it is mended; whether none is left.
    pub(crate) fn mend(&self, a: &str, b: &str) -> bool {
        let mut links = self.links();
        let cut = links.entry(key(a, b)).or_default();
        cut.holding = cut.holding.saturating_sub(1);
        cut.holding == 0
    }

    fn of(&self, a: &str, b: &str) -> Cut {
        self.links().get(&key(a, b)).copied().unwrap_or_default()
    }
}

fn key(a: &str, b: &str) -> (String, String) {
    let (first, second) = if a < b { (a, b) } else { (b, a) };
    (first.to_owned(), second.to_owned())
}

/// One host's view of the network.
#[derive(Clone)]
pub(crate) struct SimNetwork {
    host: String,
    cuts: Arc<Cuts>,
}

impl SimNetwork {
    /// Of the host called `host`.
    pub(crate) fn new(host: &str, cuts: &Arc<Cuts>) -> Self {
        Self { host: host.to_owned(), cuts: Arc::clone(cuts) }
    }

    /// Connects to `address`, `host:port`; waits for ever across a cut.
    pub(crate) async fn dial(&self, address: &str) -> io::Result<TcpStream> {
        let invalid = || io::Error::new(io::ErrorKind::InvalidInput, address.to_owned());
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let port: u16 = port.parse().map_err(|_| invalid())?;
        let before = self.cuts.of(&self.host, host);
        let connected = TcpStream::connect((host, port)).await;
        let after = self.cuts.of(&self.host, host);
        if connected.is_err() && (after.holding > 0 || after != before) {
            return pending().await;
        }
        connected
    }
}

impl Connect for SimNetwork {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        let address = address.to_owned();
        let this = self.clone();
        Box::pin(async move { Ok(connection(this.dial(&address).await?)) })
    }
}

fn connection(stream: TcpStream) -> Connection {
    let (reader, writer) = stream.into_split();
    Connection { reader: Box::new(reader), writer: Box::new(Gathering(writer)) }
}

/// Writes several buffers as one message: each message is an event of the simulation.
struct Gathering(OwnedWriteHalf);

impl AsyncWrite for Gathering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut message = Vec::new();
        for slice in slices {
            let room = MESSAGE_BYTES_MAX - message.len();
            message.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        Pin::new(&mut self.0).poll_write(context, &message)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl Bind for SimNetwork {
    fn bind<'a>(&'a self, config: &'a ListenerConfig) -> BoxFuture<'a, anyhow::Result<Listeners>> {
        Box::pin(async move {
            let bind = async |port: u16| {
                let bound = TcpListener::bind(("0.0.0.0", port)).await;
                bound.with_context(|| format!("port {port} of {}", self.host))
            };
            Ok(Listeners {
                kafka: Box::new(Clients(bind(config.kafka.port()).await?)),
                kafka_address: config.kafka,
                peer: Box::new(Peers(bind(config.peer.port()).await?)),
                admin: None,
            })
        })
    }
}

struct Peers(TcpListener);

impl Bound for Peers {
    fn listen(self: Box<Self>) -> io::Result<Box<dyn jackdaw_raft::Listener>> {
        Ok(self)
    }
}

impl jackdaw_raft::Listener for Peers {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.0.accept().await?;
            Ok((connection(stream), from))
        })
    }
}

struct Clients(TcpListener);

impl Listener for Clients {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Socket>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, from) = self.0.accept().await?;
            Ok((Box::new(ClientSocket::new(stream)) as Box<dyn Socket>, from))
        })
    }
}

/// A client's connection as the server wants it: what comes and what goes is kept here, and a task takes
/// it on, as a kernel does.
struct ClientSocket {
    incoming: Mutex<Incoming>,
    outgoing: Arc<Outgoing>,
}

struct Incoming {
    reader: OwnedReadHalf,
    bytes: BytesMut,
    is_over: bool,
}

#[derive(Default)]
struct Outgoing {
    state: Mutex<OutgoingState>,
    /// Bytes were added, or none will be.
    changed: Notify,
}

#[derive(Default)]
struct OutgoingState {
    bytes: BytesMut,
    is_closed: bool,
    failed: bool,
    waker: Option<std::task::Waker>,
}

impl ClientSocket {
    fn new(stream: TcpStream) -> Self {
        let (reader, writer) = stream.into_split();
        let outgoing = Arc::<Outgoing>::default();
        tokio::spawn(Arc::clone(&outgoing).drain(writer));
        let incoming = Incoming { reader, bytes: BytesMut::new(), is_over: false };
        Self { incoming: Mutex::new(incoming), outgoing }
    }

    fn incoming(&self) -> MutexGuard<'_, Incoming> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outgoing {
    fn state(&self) -> MutexGuard<'_, OutgoingState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn drain(self: Arc<Self>, mut writer: OwnedWriteHalf) {
        loop {
            let (part, is_closed) = {
                let mut state = self.state();
                let len = state.bytes.len().min(MESSAGE_BYTES_MAX);
                let part = state.bytes.split_to(len);
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
                (part, state.is_closed)
            };
            if part.is_empty() {
                if is_closed {
                    // The peer may be gone.
                    drop(writer.shutdown().await);
                    return;
                }
                self.changed.notified().await;
            } else if writer.write_all(&part).await.is_err() {
                let mut state = self.state();
                state.failed = true;
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
                return;
            }
        }
    }
}

impl Drop for ClientSocket {
    fn drop(&mut self) {
        self.outgoing.state().is_closed = true;
        self.outgoing.changed.notify_one();
    }
}

impl Socket for ClientSocket {
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut incoming = self.incoming();
        if incoming.is_over || !incoming.bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut room = [0; READ_BYTES];
        let mut room = ReadBuf::new(&mut room);
        std::task::ready!(Pin::new(&mut incoming.reader).poll_read(context, &mut room))?;
        incoming.is_over = room.filled().is_empty();
        incoming.bytes.extend_from_slice(room.filled());
        Poll::Ready(Ok(()))
    }

    fn try_read(&self, buffer: &mut dyn BufMut) -> io::Result<usize> {
        let mut incoming = self.incoming();
        if incoming.bytes.is_empty() && !incoming.is_over {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let len = incoming.bytes.len().min(buffer.remaining_mut());
        buffer.put_slice(&incoming.bytes[..len]);
        incoming.bytes.advance(len);
        Ok(len)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.outgoing.state();
        if state.failed || state.bytes.len() < OUT_BYTES_MAX {
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn try_write(&self, slices: &[IoSlice<'_>], _: bool) -> io::Result<usize> {
        let mut state = self.outgoing.state();
        if state.failed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = OUT_BYTES_MAX.saturating_sub(state.bytes.len());
        if room == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let before = state.bytes.len();
        for slice in slices {
            let left = room - (state.bytes.len() - before);
            let part = slice.len().min(left);
            state.bytes.extend_from_slice(&slice[..part]);
        }
        let written = state.bytes.len() - before;
        drop(state);
        self.outgoing.changed.notify_one();
        Ok(written)
    }
}

/// Reads what there is, for clients.
pub(crate) async fn read_some(stream: &mut TcpStream, into: &mut BytesMut) -> io::Result<usize> {
    let mut room = [0; READ_BYTES];
    let mut room = ReadBuf::new(&mut room);
    poll_fn(|context| Pin::new(&mut *stream).poll_read(context, &mut room)).await?;
    into.extend_from_slice(room.filled());
    Ok(room.filled().len())
}
