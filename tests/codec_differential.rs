//! `kafka-wire`, which the broker uses, against the `kafka-protocol` crate, for every API on offer
//! in every version, requests and responses.
//!
//! A message filled from a seed is encoded by the one, decoded by the other, and encoded again by
//! both: all three byte strings are the same.
#![allow(clippy::unwrap_used)]

mod wire_fill;

use bytes::{Bytes, BytesMut};
use jackdaw::protocol::Api;
use kafka_protocol::messages as oracle;
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use kafka_wire::KafkaMessage;
use kafka_wire_core::ApiVersion;
use wire_fill::{Fill, message};

const SEEDS: u64 = 60;

/// Compares the codecs of one message; returns the versions that the oracle does not know.
fn compare<Ours, Theirs>(api: &Api) -> Vec<i16>
where
    Ours: KafkaMessage + Fill,
    Theirs: Encodable + Decodable + Message,
{
    let mut unknown = Vec::new();
    for version in api.accepted.min..=api.accepted.max {
        if !(Theirs::VERSIONS.min..=Theirs::VERSIONS.max).contains(&version) {
            unknown.push(version);
            continue;
        }
        for seed in 0..SEEDS {
            let name = format!("{} v{version}, seed {seed}", Ours::NAME);
            let bytes = message::<Ours>(seed, 0, version)
                .encode_to_bytes(ApiVersion::new(version))
                .unwrap();
            compare_bytes::<Ours, Theirs>(&bytes, version, &name);
        }
    }
    unknown
}

fn compare_bytes<Ours, Theirs>(bytes: &Bytes, version: i16, name: &str)
where
    Ours: KafkaMessage,
    Theirs: Encodable + Decodable,
{
    let mut rest = bytes.clone();
    let theirs = Theirs::decode(&mut rest, version).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(rest.is_empty(), "{name}: the oracle leaves {} bytes", rest.len());
    let mut encoded = BytesMut::new();
    theirs.encode(&mut encoded, version).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(bytes, &encoded.freeze(), "{name}: the oracle encodes other bytes");

    let limits = jackdaw::protocol::decode_limits(bytes.len());
    let wire_version = ApiVersion::new(version);
    let ours = Ours::decode_from_bytes(bytes.clone(), wire_version, limits)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(bytes, &ours.encode_to_bytes(wire_version).unwrap(), "{name}: not a round trip");
}

#[test]
fn every_api_and_version_agrees_with_the_oracle() {
    let mut unknown = Vec::new();
    macro_rules! both {
        ($api:ident, $request:ident, $response:ident) => {{
            for version in compare::<kafka_wire::$request, oracle::$request>($api) {
                unknown.push((stringify!($request), version));
            }
            for version in compare::<kafka_wire::$response, oracle::$response>($api) {
                unknown.push((stringify!($response), version));
            }
        }};
    }
    each_api!(both);
    // Both were still marked unstable in the schemas that the oracle was made from.
    assert_eq!(unknown, [("OffsetCommitRequest", 10), ("OffsetFetchRequest", 10)]);
}

/// Cutting a message short anywhere makes it malformed, never a panic and never another message.
#[test]
fn every_truncation_is_an_error() {
    fn cut<M: KafkaMessage + Fill>(api: &Api) {
        for version in api.accepted.min..=api.accepted.max {
            let wire_version = ApiVersion::new(version);
            let bytes = message::<M>(7, 1, version).encode_to_bytes(wire_version).unwrap();
            for end in 0..bytes.len() {
                let part = bytes.slice(..end);
                let limits = jackdaw::protocol::decode_limits(part.len());
                let outcome = M::decode_from_bytes(part, wire_version, limits);
                assert!(outcome.is_err(), "{} v{version}, {end} bytes", M::NAME);
            }
        }
    }
    macro_rules! both {
        ($api:ident, $request:ident, $response:ident) => {{
            cut::<kafka_wire::$request>($api);
            cut::<kafka_wire::$response>($api);
        }};
    }
    each_api!(both);
}
