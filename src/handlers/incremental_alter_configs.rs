//! IncrementalAlterConfigs: set, delete, append, subtract (KIP-339). Versions 0–1.
//!
//! **Invariant:** the changes of one resource happen all or not at all; a resource or a config that
//! is named twice is not touched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_wire::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_wire::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};

use super::config_resource::target;
use super::metadata_context::{ElementError, MetadataContext, invalid, spread};
use crate::metadata::{AlterConfigs, ConfigOp};

/// The request carries no deadline of its own: Kafka's `request.timeout.ms`.
const TIMEOUT: Duration = Duration::from_secs(30);

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Answers a request.
pub async fn handle(
    context: &MetadataContext,
    body: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let mut seen = BTreeSet::new();
    let keys = body.resources.iter().map(key);
    let twice: BTreeSet<(i8, &str)> = keys.filter(|key| !seen.insert(*key)).collect();
    let read = |resource: &AlterConfigsResource| {
        if twice.contains(&key(resource)) {
            return Err(invalid("Each resource must appear at most once."));
        }
        let target = target(resource.resource_type, &resource.resource_name);
        let ops = operations(&resource.configs)?;
        Ok(AlterConfigs { target: target?, ops })
    };
    let read: Vec<Result<AlterConfigs, ElementError>> = body.resources.iter().map(read).collect();
    let wanted: Vec<AlterConfigs> =
        read.iter().filter_map(|row| row.as_ref().ok()).cloned().collect();
    let count = wanted.len();
    let answers = if wanted.is_empty() {
        Vec::new()
    } else {
        spread(context.port.alter_configs(wanted, body.validate_only, TIMEOUT).await, count)
    };
    let mut answers = answers.into_iter();
    let mut response = IncrementalAlterConfigsResponse::default();
    for (resource, read) in body.resources.iter().zip(read) {
        let answer = match read {
            Ok(_) => answers.next().expect("one answer per resource asked for"),
            Err(error) => Err(error),
        };
        response.responses.push(result(resource, answer));
    }
    response
}

fn key(resource: &AlterConfigsResource) -> (i8, &str) {
    (resource.resource_type, resource.resource_name.as_str())
}

/// The operations by config.
fn operations(configs: &[AlterableConfig]) -> Result<BTreeMap<String, ConfigOp>, ElementError> {
    let mut ops = BTreeMap::new();
    let mut nulls: Vec<&str> = Vec::new();
    for config in configs {
        let name = config.name.as_str();
        let value = config.value.as_ref().map(ToString::to_string);
        let op = match (config.config_operation, value) {
            (DELETE, _) => ConfigOp::Delete,
            (SET, Some(value)) => ConfigOp::Set(value),
            (APPEND, Some(value)) => ConfigOp::Append(value),
            (SUBTRACT, Some(value)) => ConfigOp::Subtract(value),
            (SET | APPEND | SUBTRACT, None) => {
                nulls.push(name);
                // Holds its place, so that a second one of that name is found.
                ConfigOp::Delete
            }
            (other, _) => {
                return Err(invalid(format!("Unknown operation {other} for config {name}")));
            }
        };
        if ops.insert(name.to_owned(), op).is_some() {
            return Err(invalid("Error due to duplicate config keys"));
        }
    }
    if !nulls.is_empty() {
        return Err(invalid(format!("Null value not supported for : {}", nulls.join(", "))));
    }
    Ok(ops)
}

fn result(
    resource: &AlterConfigsResource,
    answer: Result<(), ElementError>,
) -> AlterConfigsResourceResponse {
    let mut result = AlterConfigsResourceResponse::default();
    result.resource_type = resource.resource_type;
    result.resource_name = resource.resource_name.clone();
    result.error_message = None;
    if let Err((code, message)) = answer {
        result.error_code = code.code();
        result.error_message = Some(message.into());
    }
    result
}

#[cfg(test)]
#[path = "incremental_alter_configs_test.rs"]
mod tests;
