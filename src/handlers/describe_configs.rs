//! DescribeConfigs: of topics, of this broker, and of all brokers. Versions 1–4.
//!
//! **Invariant:** the value shown is the one in force on this broker, and its source is the first
//! of its synonyms; no config kept here is sensitive, so none is hidden.

use kafka_wire::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use kafka_wire::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    DescribeConfigsSynonym,
};

use super::config_resource::target;
use super::metadata_context::{ElementError, MetadataContext, invalid, plain};
use super::wire;
use crate::metadata::configs::{
    BrokerConfigDef, ConfigSource, ConfigSynonym, ConfigType, Resolved, TOPIC_CONFIGS,
    broker_configs,
};
use crate::metadata::{ConfigTarget, MetadataImage};
use crate::model::BrokerId;
use crate::protocol::ErrorCode;

/// Answers a request.
pub async fn handle(
    context: &MetadataContext,
    version: i16,
    body: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let mut response = DescribeConfigsResponse::default();
    let image = context.port.image();
    for resource in &body.resources {
        let shape = Shape {
            keys: resource.configuration_keys.as_ref().filter(|keys| !keys.is_empty()),
            synonyms: body.include_synonyms,
            docs: version >= 3 && body.include_documentation,
        };
        response.results.push(result(resource, describe(context, &image, resource, &shape)));
    }
    response
}

type Entries = Vec<DescribeConfigsResourceResult>;

fn result(
    resource: &DescribeConfigsResource,
    described: Result<Entries, ElementError>,
) -> DescribeConfigsResult {
    let mut result = DescribeConfigsResult::default();
    result.resource_type = resource.resource_type;
    result.resource_name = resource.resource_name.clone();
    result.error_message = None;
    match described {
        Ok(configs) => result.configs = configs,
        Err((code, message)) => {
            result.error_code = code.code();
            result.error_message = Some(message.into());
        }
    }
    result
}

fn describe(
    context: &MetadataContext,
    image: &MetadataImage,
    resource: &DescribeConfigsResource,
    shape: &Shape<'_>,
) -> Result<Entries, ElementError> {
    match target(resource.resource_type, &resource.resource_name)? {
        ConfigTarget::Topic(name) => {
            let topic = image.topic(&name);
            let topic = topic.ok_or_else(|| plain(ErrorCode::UnknownTopicOrPartition))?;
            let layers = context.layers(image);
            let wanted = TOPIC_CONFIGS.iter().filter(|def| shape.wants(def.name));
            let entry = |def| {
                let resolved = layers.topic_config(def, &topic.configs);
                let about = About { name: def.name, kind: def.kind, doc: def.doc };
                shape.entry(about, resolved, false)
            };
            Ok(wanted.map(entry).collect())
        }
        ConfigTarget::Broker(id) if id == context.broker.id() => {
            let layers = context.layers(image);
            let wanted = broker_configs().values().filter(|def| shape.wants(def.name));
            let resolve = |def: &BrokerConfigDef| {
                shape.entry(About::of(def), layers.broker_config(def), !def.dynamic)
            };
            Ok(wanted.map(resolve).collect())
        }
        ConfigTarget::Broker(id) => Err(elsewhere(context.broker.id(), id)),
        ConfigTarget::Cluster => Ok(cluster_wide(image, shape)),
    }
}

/// A broker tells of itself only: what its file sets is not known elsewhere.
fn elsewhere(own: BrokerId, asked: BrokerId) -> ElementError {
    invalid(format!("Unexpected broker id, expected {own} or empty string, but received {asked}"))
}

/// What is set on all brokers, and nothing else.
fn cluster_wide(image: &MetadataImage, shape: &Shape<'_>) -> Entries {
    let wanted = image.cluster_configs.iter().filter(|(name, _)| shape.wants(name));
    let entry = |(name, value): (&String, &String)| {
        let def = broker_configs().get(name.as_str())?;
        let source = ConfigSource::Cluster;
        let synonym = ConfigSynonym { name: name.clone(), value: value.clone(), source };
        let resolved = Resolved { value: Some(value.clone()), source, synonyms: vec![synonym] };
        Some(shape.entry(About::of(def), resolved, !def.dynamic))
    };
    wanted.filter_map(entry).collect()
}

/// What is fixed about a config.
struct About {
    name: &'static str,
    kind: ConfigType,
    doc: &'static str,
}

impl About {
    fn of(def: &BrokerConfigDef) -> Self {
        Self { name: def.name, kind: def.kind, doc: def.doc }
    }
}

/// How much the client wants to know.
struct Shape<'a> {
    keys: Option<&'a Vec<kafka_wire_core::StrBytes>>,
    synonyms: bool,
    docs: bool,
}

impl Shape<'_> {
    fn wants(&self, name: &str) -> bool {
        self.keys.is_none_or(|keys| keys.iter().any(|key| key.as_str() == name))
    }

    fn entry(
        &self,
        about: About,
        resolved: Resolved,
        read_only: bool,
    ) -> DescribeConfigsResourceResult {
        let mut entry = DescribeConfigsResourceResult::default();
        entry.name = wire::text(about.name);
        entry.value = wire::option(resolved.value);
        entry.read_only = read_only;
        entry.config_source = resolved.source as i8;
        entry.config_type = about.kind.wire();
        entry.documentation = self.docs.then(|| wire::text(about.doc));
        if self.synonyms {
            let synonym = |synonym: ConfigSynonym| {
                let mut entry = DescribeConfigsSynonym::default();
                entry.name = wire::text(synonym.name);
                entry.value = Some(wire::text(synonym.value));
                entry.source = synonym.source as i8;
                entry
            };
            entry.synonyms = resolved.synonyms.into_iter().map(synonym).collect();
        }
        entry
    }
}

#[cfg(test)]
#[path = "describe_configs_test.rs"]
mod tests;
