//! Whole frames, header and all, of every API on offer in every version, against stored bytes.
//!
//! `tests/golden/<Api>.txt` holds a request and a response per version. The bytes were compared
//! with the `kafka-protocol` crate (`codec_differential.rs`) when they were made; they change only
//! when the wire format does, which is to say never. After adding an API or a version:
//! `UPDATE_EXPECT=1 cargo test --test golden_frames`, and see that no other line changed.
#![allow(clippy::unwrap_used)]

mod wire_fill;

use std::fmt::Write;
use std::path::PathBuf;

use bytes::Bytes;
use jackdaw::protocol::client::{decode_response, encode_request};
use jackdaw::protocol::{Api, FramePrefix, Piece, RequestHeader, ResponseFrame};
use kafka_wire::RequestResponsePair;
use kafka_wire_core::{ApiVersion, KafkaEncode};
use wire_fill::{Fill, message};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The frames of one API; each is read back on its way.
fn frames<Req>(api: &'static Api) -> String
where
    Req: RequestResponsePair + Fill,
    Req::Response: Fill,
{
    let mut text = String::new();
    for version in api.accepted.min..=api.accepted.max {
        let wire_version = ApiVersion::new(version);
        let seed = u64::from(api.key.code().unsigned_abs());
        let request = message::<Req>(seed, 1, version);
        let frame = encode_request(&request, version, 0x0102_0304, "golden").unwrap();
        let prefix = FramePrefix::parse(frame[..8].try_into().unwrap(), 1 << 20).unwrap();
        assert_eq!((prefix.api.key, prefix.length), (api.key, frame.len() - 4));
        let (header, body) = RequestHeader::decode(frame.slice(4..)).unwrap();
        assert_eq!((header.version, header.correlation_id), (version, 0x0102_0304));
        assert_eq!(header.client_id.unwrap().as_str(), "golden");
        assert_eq!(body, request.encode_to_bytes(wire_version).unwrap());
        writeln!(text, "v{version} request  {}", hex(&frame)).unwrap();

        let response = message::<Req::Response>(seed, 1, version);
        let frame = ResponseFrame::<Bytes>::encode(api, version, 0x0102_0304, &response).unwrap();
        let [Piece::Bytes(frame)] = frame.pieces() else { panic!("one piece") };
        let back = decode_response::<Req>(frame.slice(4..), version, 0x0102_0304).unwrap();
        let (back, sent) =
            (back.encode_to_bytes(wire_version), response.encode_to_bytes(wire_version));
        assert_eq!(back, sent);
        writeln!(text, "v{version} response {}", hex(frame)).unwrap();
    }
    text
}

#[test]
fn frames_are_the_stored_ones() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    macro_rules! check {
        ($api:ident, $request:ident, $response:ident) => {{
            let file = folder.join(format!("{}.txt", $api.name));
            expect_test::expect_file![file].assert_eq(&frames::<kafka_wire::$request>($api));
        }};
    }
    each_api!(check);
}
