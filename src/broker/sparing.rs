//! Connections for which the process has no descriptor left take those of segments.
//!
//! What each kind may use is settled at the start (`descriptors`), but others can take descriptors, too: the
//! whole machine can run out of them. Segments that nobody reads would keep theirs for good, and no client nor
//! peer got in to use them.

use std::io;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use jackdaw_raft::{Bound, Connect, Connection, Network};

use crate::server::{Listener, Socket};
use crate::storage::Storage;

/// How often one connection is given a segment's descriptor: others may take it first.
const ATTEMPTS: usize = 16;

/// Something that makes connections, and what gives way to them.
pub(super) struct Sparing<T> {
    pub(super) inner: T,
    pub(super) storage: Storage,
}

impl<T> Sparing<T> {
    async fn retry<'a, R>(
        &'a self,
        attempt: impl Fn(&'a T) -> BoxFuture<'a, io::Result<R>>,
    ) -> io::Result<R> {
        for _ in 0..ATTEMPTS {
            match attempt(&self.inner).await {
                Err(error) if self.storage.close_segment_for(&error) => {}
                outcome => return outcome,
            }
        }
        attempt(&self.inner).await
    }
}

impl Listener for Sparing<Box<dyn Listener>> {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Box<dyn Socket>, SocketAddr)>> {
        Box::pin(self.retry(|inner| inner.accept()))
    }
}

impl Bound for Sparing<Box<dyn Bound>> {
    fn listen(self: Box<Self>) -> io::Result<Box<dyn jackdaw_raft::Listener>> {
        let Self { inner, storage } = *self;
        Ok(Box::new(Sparing { inner: inner.listen()?, storage }))
    }
}

impl jackdaw_raft::Listener for Sparing<Box<dyn jackdaw_raft::Listener>> {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Connection, SocketAddr)>> {
        Box::pin(self.retry(|inner| inner.accept()))
    }
}

impl Connect for Sparing<Network> {
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(self.retry(|network| network.connect(address)))
    }
}
