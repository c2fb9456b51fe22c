//! How two nodes meet. The dialing node speaks first; the other answers; then frames follow.
//!
//! ```text
//! hello:  "JACKDAWP" | u16 version | u16 length of the rest | u64 from | u32 patience, ms | u64 to
//!         | u8 purpose | cluster id, UTF-8
//! answer: "JACKDAWP" | u16 version | u16 length of the rest | u64 from | u32 patience, ms
//!         | u8 code (0: welcome) | reason, UTF-8
//! ```
//!
//! **Invariant:** a hello is read in two bounded steps (12 bytes, then at most 512), and nothing
//! else is read from a node before its hello was accepted.

use bytes::{BufMut, Bytes, BytesMut};

use crate::codec::{DecodeError, Decoder};
use crate::id::NodeId;

/// Version of everything between two nodes.
pub(crate) const PROTOCOL_VERSION: u16 = 5;

const MAGIC: &[u8; 8] = b"JACKDAWP";
const REST_MAX: usize = 512;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Purpose {
    /// Everything that must not wait behind old entries.
    Main = 0,
    /// Entries that were committed long before, for replicas that were away.
    CatchUp = 1,
}

impl Purpose {
    fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            0 => Ok(Self::Main),
            1 => Ok(Self::CatchUp),
            _ => Err(DecodeError("hello purpose")),
        }
    }
}

/// What the dialing node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) from: NodeId,
    /// For how long the sender hears nothing before it takes a peer for dead, in milliseconds.
    pub(crate) patience_ms: u32,
    pub(crate) to: NodeId,
    pub(crate) purpose: Purpose,
    pub(crate) cluster: String,
}

/// What the dialed node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HelloAnswer {
    pub(crate) version: u16,
    pub(crate) from: NodeId,
    /// As in [`Hello`].
    pub(crate) patience_ms: u32,
    pub(crate) refusal: Option<(HelloRefusal, String)>,
}

/// Why a hello was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum HelloRefusal {
    Version = 1,
    Cluster = 2,
    NotMe = 3,
    UnknownNode = 4,
    WrongDirection = 5,
}

impl HelloRefusal {
    fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::Version),
            2 => Ok(Self::Cluster),
            3 => Ok(Self::NotMe),
            4 => Ok(Self::UnknownNode),
            5 => Ok(Self::WrongDirection),
            _ => Err(DecodeError("hello refusal")),
        }
    }
}

/// Version and length of the rest, from the first [`Hello::PREFIX_LEN`] bytes of either side.
fn prefix(bytes: &[u8; Hello::PREFIX_LEN]) -> Result<(u16, usize), DecodeError> {
    if &bytes[..8] != MAGIC {
        return Err(DecodeError("hello magic: no Jackdaw peer"));
    }
    let version = u16::from_be_bytes([bytes[8], bytes[9]]);
    let rest = usize::from(u16::from_be_bytes([bytes[10], bytes[11]]));
    if rest > REST_MAX { Err(DecodeError("hello length")) } else { Ok((version, rest)) }
}

fn encode(version: u16, rest: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(Hello::PREFIX_LEN + rest.len());
    out.put_slice(MAGIC);
    out.put_u16(version);
    out.put_u16(u16::try_from(rest.len()).expect("a hello's rest is at most 512 bytes"));
    out.put_slice(rest);
    out.freeze()
}

impl Hello {
    pub(crate) const PREFIX_LEN: usize = 12;

    pub(crate) fn prefix(bytes: &[u8; Self::PREFIX_LEN]) -> Result<(u16, usize), DecodeError> {
        prefix(bytes)
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut rest = BytesMut::new();
        rest.put_u64(self.from.0);
        rest.put_u32(self.patience_ms);
        rest.put_u64(self.to.0);
        rest.put_u8(self.purpose as u8);
        rest.put_slice(self.cluster.as_bytes());
        encode(self.version, &rest)
    }

    pub(crate) fn from_rest(version: u16, rest: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(rest);
        let from = input.node("hello from")?;
        let patience_ms = input.u32("hello patience")?;
        let to = input.node("hello to")?;
        let purpose = Purpose::from_byte(input.u8("hello purpose")?)?;
        let cluster = input.text(input.remaining(), "hello cluster")?;
        Ok(Self { version, from, patience_ms, to, purpose, cluster })
    }
}

impl HelloAnswer {
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut rest = BytesMut::new();
        rest.put_u64(self.from.0);
        rest.put_u32(self.patience_ms);
        rest.put_u8(self.refusal.as_ref().map_or(0, |(refusal, _)| *refusal as u8));
        if let Some((_, reason)) = &self.refusal {
            let cut = (0..=reason.len().min(256)).rev().find(|end| reason.is_char_boundary(*end));
            rest.put_slice(&reason.as_bytes()[..cut.unwrap_or(0)]);
        }
        encode(self.version, &rest)
    }

    pub(crate) fn from_rest(version: u16, rest: Bytes) -> Result<Self, DecodeError> {
        let mut input = Decoder::new(rest);
        let from = input.node("hello from")?;
        let patience_ms = input.u32("hello patience")?;
        let code = input.u8("hello code")?;
        let reason = input.text(input.remaining(), "hello reason")?;
        let refusal = match code {
            0 => None,
            code => Some((HelloRefusal::from_byte(code)?, reason)),
        };
        Ok(Self { version, from, patience_ms, refusal })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        let hello = Hello {
            version: 1,
            from: NodeId(2),
            patience_ms: 500,
            to: NodeId(3),
            purpose: Purpose::CatchUp,
            cluster: "jay".to_owned(),
        };
        let golden = b"JACKDAWP\0\x01\0\x18\0\0\0\0\0\0\0\x02\0\0\x01\xf4\
            \0\0\0\0\0\0\0\x03\x01jay";
        assert_eq!(&hello.to_bytes()[..], golden);
        let (version, rest) = Hello::prefix(golden.first_chunk().unwrap()).unwrap();
        assert_eq!((version, rest), (1, 24));
        let back = Hello::from_rest(version, Bytes::from_static(&golden[12..])).unwrap();
        assert_eq!(back, hello);

        let answer = HelloAnswer {
            version: 1,
            from: NodeId(3),
            patience_ms: 500,
            refusal: Some((HelloRefusal::Cluster, "no".to_owned())),
        };
        let golden = b"JACKDAWP\0\x01\0\x0f\0\0\0\0\0\0\0\x03\0\0\x01\xf4\x02no";
        assert_eq!(&answer.to_bytes()[..], golden);
        assert_eq!(HelloAnswer::from_rest(1, Bytes::from_static(&golden[12..])), Ok(answer));
    }

    #[test]
    fn strangers_are_told_apart() {
        assert!(Hello::prefix(b"GET / HTTP/1").is_err());
        assert!(Hello::prefix(b"\x16\x03\x01\0\xa5\x01\0\0\xa1\x03\x03\0").is_err());
        assert!(Hello::prefix(b"JACKDAWP\0\x01\xff\xff").is_err());
    }
}
