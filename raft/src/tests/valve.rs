//! A cable between two nodes that can be cut, in one direction or both, or made long.
//!
//! Like a cut cable, and unlike a closed socket, it tells nobody: bytes wait, and go on after the heal.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a cable lets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cut {
    /// Nothing from the dialer to the dialed.
    pub(super) there: bool,
    /// Nothing back.
    pub(super) back: bool,
    /// How long bytes are on their way, at least.
    pub(super) delay: Duration,
}

pub(super) struct Valve {
    pub(super) address: SocketAddr,
    cut: watch::Sender<Cut>,
}

impl Valve {
    /// A cable to whoever listens at `to`.
    pub(super) async fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = watch::Sender::new(Cut::default());
        let cuts = cut.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let cut = cuts.subscribe();
                tokio::spawn(connect(near, to, cut));
            }
        });
        Self { address, cut }
    }

    pub(super) fn set(&self, cut: Cut) {
        self.cut.send_replace(cut);
    }
}

async fn connect(near: TcpStream, to: SocketAddr, mut cut: watch::Receiver<Cut>) {
    let (near_read, near_write) = near.into_split();
    // Where a packet cannot pass, no connection is made.
    let open = |cut: &Cut| !cut.there && !cut.back;
    if cut.wait_for(open).await.is_err() {
        return;
    }
    let Ok(far) = TcpStream::connect(to).await else { return };
    let (far_read, far_write) = far.into_split();
    let there = pass(near_read, far_write, cut.clone(), |cut| cut.there);
    let back = pass(far_read, near_write, cut, |cut| cut.back);
    tokio::join!(there, back);
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut cut: watch::Receiver<Cut>,
    is_cut: impl Fn(&Cut) -> bool,
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let passed = cut.wait_for(|cut| !is_cut(cut)).await.map(|cut| cut.delay);
        let Ok(delay) = passed else { return };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    // A farewell is a packet as well.
    let _ = cut.wait_for(|cut| !is_cut(cut)).await;
}
