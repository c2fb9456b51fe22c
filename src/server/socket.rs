//! What the server asks of a network: the machine's TCP, or one that is simulated.
//!
//! **Invariant:** a socket serves one connection, whose reading and writing halves share a task: one waker
//! is remembered per direction.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::task::{Context, Poll};

use bytes::BufMut;
use futures_util::future::BoxFuture;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};

use crate::handlers::Records;

/// Where clients connect to.
pub trait Listener: Send + Sync {
    /// The next connection, and whence it comes. Dropped before it resolves, it takes none.
    ///
    /// # Errors
    /// Of the network; the next call may succeed.
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Socket>, SocketAddr)>>;
}

impl Listener for Box<dyn Listener> {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Socket>, SocketAddr)>> {
        (**self).accept()
    }
}

/// A connection that nothing waits in: what cannot be done now is `WouldBlock`.
pub trait Socket: Send + Sync {
    /// Sets it up for serving.
    ///
    /// # Errors
    /// Of the operating system.
    fn prepare(&self) -> io::Result<()> {
        Ok(())
    }

    /// Resolves when a read may find something.
    ///
    /// # Errors
    /// Of the network.
    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Reads what is there into the room of `buffer`; 0 at the end of the stream.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; else of the network.
    fn try_read(&self, buffer: &mut dyn BufMut) -> io::Result<usize>;

    /// Resolves when a write may be taken.
    ///
    /// # Errors
    /// Of the network.
    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Writes some of `slices`; with `more`, bytes may wait for those of the next call.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is taken now; else of the network.
    fn try_write(&self, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize>;

    /// Sends up to `max` bytes of records past this process's memory, and drops what was taken from them;
    /// `None` where that cannot be, and they have to be read and written.
    fn try_send(&self, records: &mut Records, max: usize) -> Option<io::Result<usize>> {
        let _ = (records, max);
        None
    }

    /// Holds back segments that are not full while `on`.
    ///
    /// # Errors
    /// Of the operating system.
    fn cork(&self, on: bool) -> io::Result<()> {
        let _ = on;
        Ok(())
    }
}

impl dyn Socket + '_ {
    /// Waits until a read may find something.
    pub(super) async fn readable(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_readable(context)).await
    }

    /// Waits until a write may be taken.
    pub(super) async fn writable(&self) -> io::Result<()> {
        poll_fn(|context| self.poll_writable(context)).await
    }
}

impl Listener for TcpListener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Socket>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, address) = self.accept().await?;
            Ok((Box::new(stream) as Box<dyn Socket>, address))
        })
    }
}

impl Socket for TcpStream {
    fn prepare(&self) -> io::Result<()> {
        self.set_nodelay(true)?;
        // A client whose host vanished is noticed, also one that only waits.
        Ok(rustix::net::sockopt::set_socket_keepalive(self, true)?)
    }

    fn poll_readable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(context)
    }

    fn try_read(&self, mut buffer: &mut dyn BufMut) -> io::Result<usize> {
        self.try_read_buf(&mut buffer)
    }

    fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(context)
    }

    /// `sendmsg(2)`.
    fn try_write(&self, slices: &[IoSlice<'_>], more: bool) -> io::Result<usize> {
        let flags = SendFlags::NOSIGNAL | if more { SendFlags::MORE } else { SendFlags::empty() };
        let mut none = SendAncillaryBuffer::default();
        self.try_io(Interest::WRITABLE, || {
            Ok(rustix::net::sendmsg(self, slices, &mut none, flags)?)
        })
    }

    /// `sendfile(2)`.
    fn try_send(&self, records: &mut Records, max: usize) -> Option<io::Result<usize>> {
        Some(self.try_io(Interest::WRITABLE, || records.send_to(self.as_fd(), max)))
    }

    fn cork(&self, on: bool) -> io::Result<()> {
        Ok(rustix::net::sockopt::set_tcp_cork(self, on)?)
    }
}
