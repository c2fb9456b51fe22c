//! Both sides of a hello, over a socket.

use std::io;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::codec::DecodeError;
use crate::id::{ClusterId, NodeId};
use crate::wire::{Hello, HelloAnswer, HelloRefusal, PROTOCOL_VERSION};

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

async fn read_side(socket: &mut TcpStream) -> Result<(u16, bytes::Bytes), HelloError> {
    let mut prefix = [0; Hello::PREFIX_LEN];
    socket.read_exact(&mut prefix).await?;
    let (version, length) = Hello::prefix(&prefix)?;
    let mut rest = BytesMut::zeroed(length);
    socket.read_exact(&mut rest).await?;
    Ok((version, rest.freeze()))
}

/// Says hello as `me` to `to`; an error where it is not welcome there.
pub(super) async fn dial(
    socket: &mut TcpStream,
    me: NodeId,
    to: NodeId,
    cluster: &ClusterId,
) -> Result<(), HelloError> {
    let cluster = cluster.to_string();
    let hello = Hello { version: PROTOCOL_VERSION, from: me, to, cluster };
    socket.write_all(&hello.to_bytes()).await?;
    let (version, rest) = read_side(socket).await?;
    let answer = HelloAnswer::from_rest(version, rest)?;
    if let Some((code, reason)) = answer.refusal {
        return Err(HelloError::Refused(format!("the peer refused ({code:?}): {reason}")));
    }
    if answer.version != PROTOCOL_VERSION || answer.from != to {
        let text = format!("node {} of protocol {} answered", answer.from, answer.version);
        return Err(HelloError::Refused(text));
    }
    Ok(())
}

/// Hears a hello; the node that said it, which `known` must know.
pub(super) async fn accept(
    socket: &mut TcpStream,
    me: NodeId,
    cluster: &ClusterId,
    known: impl Fn(NodeId) -> bool,
) -> Result<NodeId, HelloError> {
    let (version, rest) = read_side(socket).await?;
    let verdict = if version == PROTOCOL_VERSION {
        let hello = Hello::from_rest(version, rest)?;
        judge(&hello, me, cluster, known).map(|()| hello.from)
    } else {
        let text = format!("protocol {version} is not spoken here, {PROTOCOL_VERSION} is");
        Err((HelloRefusal::Version, text))
    };
    let refusal = verdict.as_ref().err().cloned();
    let answer = HelloAnswer { version: PROTOCOL_VERSION, from: me, refusal };
    socket.write_all(&answer.to_bytes()).await?;
    verdict.map_err(|(_, reason)| HelloError::Refused(reason))
}

fn judge(
    hello: &Hello,
    me: NodeId,
    cluster: &ClusterId,
    known: impl Fn(NodeId) -> bool,
) -> Result<(), (HelloRefusal, String)> {
    let from = hello.from;
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
        Ok(())
    }
}
