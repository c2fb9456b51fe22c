//! Both sides of a hello, over a socket.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::codec::DecodeError;
use crate::id::{ClusterId, NodeId};
use crate::net::Connection;
use crate::wire::{Hello, HelloAnswer, HelloRefusal, PROTOCOL_VERSION, Purpose};

/// A hello that led to no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum HelloError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("{0}")]
    Refused(String),
    #[error("no hello in time")]
    Timeout,
}

/// This node, as it introduces itself.
pub(super) struct Identity<'a> {
    pub(super) node: NodeId,
    pub(super) cluster: &'a ClusterId,
    pub(super) patience: Duration,
}

impl Identity<'_> {
    fn patience_ms(&self) -> u32 {
        u32::try_from(self.patience.as_millis()).unwrap_or(u32::MAX)
    }
}

/// A connection on which both sides are welcome.
pub(super) struct Acquaintance {
    pub(super) node: NodeId,
    pub(super) purpose: Purpose,
    /// For how long the peer hears nothing before it takes this node for dead.
    pub(super) patience: Duration,
}

async fn read_side(socket: &mut Connection) -> Result<(u16, bytes::Bytes), HelloError> {
    let mut prefix = [0; Hello::PREFIX_LEN];
    socket.reader.read_exact(&mut prefix).await?;
    let (version, length) = Hello::prefix(&prefix)?;
    let mut rest = BytesMut::zeroed(length);
    socket.reader.read_exact(&mut rest).await?;
    Ok((version, rest.freeze()))
}

/// Says hello to `to`; an error where it is not welcome there.
pub(super) async fn dial(
    socket: &mut Connection,
    me: &Identity<'_>,
    to: NodeId,
    purpose: Purpose,
) -> Result<Acquaintance, HelloError> {
    let hello = Hello {
        version: PROTOCOL_VERSION,
        from: me.node,
        patience_ms: me.patience_ms(),
        to,
        purpose,
        cluster: me.cluster.to_string(),
    };
    socket.writer.write_all(&hello.to_bytes()).await?;
    let (version, rest) = read_side(socket).await?;
    // What another version answers is not known, but for its head.
    if version != PROTOCOL_VERSION {
        let text = format!("protocol {version} is spoken there, {PROTOCOL_VERSION} here");
        return Err(HelloError::Refused(text));
    }
    let answer = HelloAnswer::from_rest(version, rest)?;
    if let Some((code, reason)) = answer.refusal {
        return Err(HelloError::Refused(format!("the peer refused ({code:?}): {reason}")));
    }
    if answer.from != to {
        return Err(HelloError::Refused(format!("node {} answered", answer.from)));
    }
    Ok(Acquaintance { node: to, purpose, patience: millis(answer.patience_ms) })
}

/// Hears a hello of a node that `known` must know.
pub(super) async fn accept(
    socket: &mut Connection,
    me: &Identity<'_>,
    known: impl Fn(NodeId) -> bool,
) -> Result<Acquaintance, HelloError> {
    let (version, rest) = read_side(socket).await?;
    let verdict = if version == PROTOCOL_VERSION {
        let hello = Hello::from_rest(version, rest)?;
        judge(&hello, me, known)
    } else {
        let text = format!("protocol {version} is not spoken here, {PROTOCOL_VERSION} is");
        Err((HelloRefusal::Version, text))
    };
    let refusal = verdict.as_ref().err().cloned();
    let patience_ms = me.patience_ms();
    let answer = HelloAnswer { version: PROTOCOL_VERSION, from: me.node, patience_ms, refusal };
    socket.writer.write_all(&answer.to_bytes()).await?;
    verdict.map_err(|(_, reason)| HelloError::Refused(reason))
}

fn millis(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms))
}

fn judge(
    hello: &Hello,
    me: &Identity<'_>,
    known: impl Fn(NodeId) -> bool,
) -> Result<Acquaintance, (HelloRefusal, String)> {
    let (from, cluster, me) = (hello.from, me.cluster, me.node);
    if hello.cluster != cluster.as_str() {
        let text = format!("node {from} is of cluster {:?}, not {cluster}", hello.cluster);
        Err((HelloRefusal::Cluster, text))
    } else if hello.to != me {
        Err((HelloRefusal::NotMe, format!("node {from} asked for node {}; this is {me}", hello.to)))
    } else if !known(from) {
        Err((HelloRefusal::UnknownNode, format!("node {from} is not in this cluster's node list")))
    } else if from >= me {
        let text = format!("node {from} dialed node {me}: the smaller id dials");
        Err((HelloRefusal::WrongDirection, text))
    } else {
        let patience = millis(hello.patience_ms);
        Ok(Acquaintance { node: from, purpose: hello.purpose, patience })
    }
}
