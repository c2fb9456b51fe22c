//! ApiVersions: what this broker speaks, asked before anything else.
//!
//! **Invariant:** every ApiVersions request gets an answer that its sender can read, also one of a
//! version from the future: then version 0 with error 35 and this API's own range (KIP-511).

use kafka_wire::ApiVersionsRequest;
use kafka_wire::api_versions_response::{
    ApiVersion as Offered, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use kafka_wire_core::StrBytes;

use super::{ConnectionState, Outcome, Request, RequestMeta, Software};
use crate::protocol::{APIS, Api, ApiKey, ErrorCode};

/// Cluster-wide features (KIP-584), which clients turn behaviour on by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// What this broker could do.
    pub supported: Vec<Feature>,
    /// What the cluster has agreed on.
    pub finalized: Vec<Feature>,
    /// Version of `finalized`, −1 where nothing is.
    pub finalized_epoch: i64,
}

/// A feature's levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// For instance `transaction.version`.
    pub name: String,
    /// Lowest level.
    pub min: i16,
    /// Highest level.
    pub max: i16,
}

impl Default for Features {
    fn default() -> Self {
        Self { supported: Vec::new(), finalized: Vec::new(), finalized_epoch: -1 }
    }
}

/// Answers a request of any version.
#[must_use]
pub fn handle(connection: &ConnectionState, request: &Request, features: &Features) -> Outcome {
    let meta = &request.meta;
    if !ApiKey::ApiVersions.api().accepted.contains(meta.version) {
        return RequestMeta { version: 0, ..meta.clone() }.respond(&unsupported_version()).into();
    }
    let body = match request.decode::<ApiVersionsRequest>() {
        Ok(body) => body,
        Err(reason) => return reason.into(),
    };
    if meta.version >= 3 {
        let name = body.client_software_name.as_str();
        let version = body.client_software_version.as_str();
        if !is_software_text(name) || !is_software_text(version) {
            let mut response = ApiVersionsResponse::default();
            response.error_code = ErrorCode::InvalidRequest.code();
            return meta.respond(&response).into();
        }
        connection.set_software(Software { name: name.to_owned(), version: version.to_owned() });
    }
    meta.respond(&response(meta.version, features)).into()
}

fn response(version: i16, features: &Features) -> ApiVersionsResponse {
    let mut response = ApiVersionsResponse::default();
    response.api_keys = APIS.iter().map(offered).collect();
    if version >= 3 {
        // A minimum of 0 is an error to clients that only know v3 (KIP-1022).
        let shown = features.supported.iter().filter(|feature| version >= 4 || feature.min > 0);
        response.supported_features = shown.map(supported).collect();
        response.finalized_features = features.finalized.iter().map(finalized).collect();
        response.finalized_features_epoch = features.finalized_epoch;
    }
    response
}

fn unsupported_version() -> ApiVersionsResponse {
    let mut response = ApiVersionsResponse::default();
    response.error_code = ErrorCode::UnsupportedVersion.code();
    response.api_keys = vec![offered(ApiKey::ApiVersions.api())];
    response
}

fn offered(api: &Api) -> Offered {
    let mut offered = Offered::default();
    offered.api_key = api.key.code();
    offered.min_version = api.advertised.min;
    offered.max_version = api.advertised.max;
    offered
}

fn supported(feature: &Feature) -> SupportedFeatureKey {
    let mut key = SupportedFeatureKey::default();
    key.name = StrBytes::from(feature.name.as_str());
    (key.min_version, key.max_version) = (feature.min, feature.max);
    key
}

fn finalized(feature: &Feature) -> FinalizedFeatureKey {
    let mut key = FinalizedFeatureKey::default();
    key.name = StrBytes::from(feature.name.as_str());
    (key.min_version_level, key.max_version_level) = (feature.min, feature.max);
    key
}

/// Kafka's pattern `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`: the text becomes a metric's tag.
fn is_software_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    bytes.iter().all(inner)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_wire_core::{ApiVersion, KafkaEncode};

    use super::*;
    use crate::handlers::Reply;
    use crate::protocol::Piece;
    use crate::protocol::client::{Negotiated, decode_response};

    fn ask(version: i16, body: Bytes, features: &Features) -> (ApiVersionsResponse, Connection) {
        let connection = ConnectionState::new("127.0.0.1:1".parse().unwrap());
        let meta = RequestMeta {
            api_key: ApiKey::ApiVersions,
            version,
            correlation_id: 9,
            client_id: None,
            client_address: connection.address(),
            software: None,
        };
        let outcome = handle(&connection, &Request { meta, body }, features);
        let Outcome::Ready(Reply::Response(frame)) = outcome else { panic!("{outcome:?}") };
        let Some(Piece::Bytes(bytes)) = frame.into_pieces().pop() else { panic!("one piece") };
        let asked = version.clamp(0, 4);
        let response = decode_response::<ApiVersionsRequest>(bytes.slice(4..), asked, 9).unwrap();
        (response, connection)
    }
    type Connection = ConnectionState;

    fn body(version: i16, name: &str) -> Bytes {
        let mut request = ApiVersionsRequest::default();
        request.client_software_name = StrBytes::from(name);
        request.client_software_version = StrBytes::from("1.0");
        let mut body = BytesMut::new();
        request.encode_into(&mut body, ApiVersion::new(version)).unwrap();
        body.freeze()
    }

    #[test]
    fn lists_the_table_in_every_version() {
        for version in 0..=4 {
            let (response, connection) = ask(version, body(version, "kcat"), &Features::default());
            assert_eq!(response.error_code, 0);
            assert_eq!(response.api_keys.len(), APIS.len());
            let produce = &response.api_keys[0];
            assert_eq!((produce.min_version, produce.max_version), (0, 13));
            assert_eq!(connection.software().is_some(), version >= 3);
            assert!(response.finalized_features.is_empty());
            Negotiated::from_response(&response).unwrap();
        }
    }

    #[test]
    fn versions_from_the_future_are_told_the_range() {
        for version in [5, 99, -1] {
            let body = Bytes::from_static(b"not to be read");
            let (response, _) = ask(version, body, &Features::default());
            assert_eq!(response.error_code, 35);
            assert_eq!(response.api_keys.len(), 1);
            let own = &response.api_keys[0];
            assert_eq!((own.api_key, own.min_version, own.max_version), (18, 0, 4));
        }
    }

    #[test]
    fn odd_software_names_are_invalid_requests() {
        for name in ["", "-a", "a.", "a b", "é", "a\n"] {
            let (response, connection) = ask(3, body(3, name), &Features::default());
            assert_eq!(response.error_code, 42, "{name:?}");
            assert!(response.api_keys.is_empty());
            assert!(connection.software().is_none());
        }
        let (_, connection) = ask(3, body(3, "apache-kafka-java"), &Features::default());
        assert_eq!(connection.software().unwrap().name, "apache-kafka-java");
    }

    #[test]
    fn features_with_minimum_0_are_kept_from_v3() {
        let feature = |name: &str, min| Feature { name: name.to_owned(), min, max: 2 };
        let supported = vec![feature("metadata.version", 1), feature("transaction.version", 0)];
        let finalized = vec![feature("transaction.version", 2)];
        let features = Features { supported, finalized, finalized_epoch: 5 };
        let (v3, _) = ask(3, body(3, "a"), &features);
        assert_eq!((v3.supported_features.len(), v3.finalized_features.len()), (1, 1));
        let (v4, _) = ask(4, body(4, "a"), &features);
        assert_eq!((v4.supported_features.len(), v4.finalized_features_epoch), (2, 5));
    }
}
