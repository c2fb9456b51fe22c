//! What IncrementalAlterConfigs answers.

use super::super::config_resource::{BROKER, TOPIC};
use super::super::fake_port::{cluster, sent, unavailable, words};
use super::super::metadata_port::MetadataPort;
use super::super::wire;
use super::*;
use crate::model::BrokerId;

type Op<'a> = (&'a str, i8, Option<&'a str>);

fn resource(kind: i8, name: &str, ops: &[Op<'_>]) -> AlterConfigsResource {
    let mut resource = AlterConfigsResource::default();
    resource.resource_type = kind;
    resource.resource_name = wire::text(name);
    let config = |(name, op, value): &Op<'_>| {
        let mut config = AlterableConfig::default();
        config.name = wire::text(name);
        config.config_operation = *op;
        config.value = wire::option(*value);
        config
    };
    resource.configs = ops.iter().map(config).collect();
    resource
}

async fn ask(
    context: &MetadataContext,
    version: i16,
    resources: Vec<AlterConfigsResource>,
    validate_only: bool,
) -> Vec<(i16, String)> {
    let mut request = IncrementalAlterConfigsRequest::default();
    request.resources = resources;
    request.validate_only = validate_only;
    let names = |r: &AlterConfigsResource| (r.resource_type, r.resource_name.clone());
    let asked: Vec<_> = request.resources.iter().map(names).collect();
    let response = sent(&handle(context, sent(&request, version)).await, version);
    let rows = response.responses.iter();
    let answered: Vec<_> =
        rows.clone().map(|row| (row.resource_type, row.resource_name.clone())).collect();
    assert_eq!(answered, asked);
    rows.map(|row| (row.error_code, words(&row.error_message).to_owned())).collect()
}

#[tokio::test]
async fn the_four_operations_in_every_version() {
    for version in 0..=1 {
        let port = cluster(1);
        port.topic("t", 1, 1).await;
        let context = port.context();
        let ops: &[Op<'_>] = &[
            ("retention.ms", SET, Some("5")),
            ("segment.ms", SET, Some("6")),
            ("cleanup.policy", APPEND, Some("delete")),
        ];
        let asked = vec![
            resource(TOPIC, "t", ops),
            resource(BROKER, "1", &[("log.retention.ms", SET, Some("7"))]),
            resource(BROKER, "", &[("log.retention.ms", SET, Some("8"))]),
        ];
        let valid = ask(&context, version, asked.clone(), true).await;
        assert!(port.image().topic("t").unwrap().configs.is_empty());
        assert!(port.image().cluster_configs.is_empty());
        let done = ask(&context, version, asked, false).await;
        let ok = || (0, String::new());
        assert_eq!(done, [ok(), ok(), ok()]);
        assert_eq!(valid, done);
        let image = port.image();
        let configs = &image.topic("t").unwrap().configs;
        assert_eq!((&*configs["retention.ms"], &*configs["cleanup.policy"]), ("5", "delete"));
        assert_eq!(image.broker_config(BrokerId(1))["log.retention.ms"], "7");
        assert_eq!(image.cluster_configs["log.retention.ms"], "8");

        let ops: &[Op<'_>] = &[
            ("retention.ms", DELETE, None),
            ("segment.ms", DELETE, Some("ignored")),
            ("cleanup.policy", SUBTRACT, Some("compact")),
        ];
        assert_eq!(ask(&context, version, vec![resource(TOPIC, "t", ops)], false).await, [ok()]);
        let image = port.image();
        let left: Vec<&String> = image.topic("t").unwrap().configs.keys().collect();
        assert_eq!(left, ["cleanup.policy"]);
    }
}

#[tokio::test]
async fn each_mistake_has_its_code_and_touches_nothing() {
    let port = cluster(1);
    for name in ["t", "u", "v", "w", "x", "y", "z"] {
        port.topic(name, 1, 1).await;
    }
    let set: Op<'_> = ("retention.ms", SET, Some("5"));
    let asked = vec![
        resource(TOPIC, "t", &[set]),
        resource(TOPIC, "t", &[set]),
        resource(TOPIC, "u", &[set, ("retention.ms", DELETE, None)]),
        resource(TOPIC, "v", &[("a", SET, None), ("b", DELETE, None), ("c", APPEND, None)]),
        resource(TOPIC, "w", &[set, ("segment.ms", SET, Some("x"))]),
        resource(TOPIC, "x", &[set, ("no.such", SET, Some("1"))]),
        resource(TOPIC, "y", &[("retention.ms", APPEND, Some("1"))]),
        resource(TOPIC, "z", &[("retention.ms", 9, Some("1"))]),
        resource(TOPIC, "none", &[set]),
        resource(TOPIC, "", &[set]),
        resource(BROKER, "9", &[("log.retention.ms", SET, Some("7"))]),
        resource(BROKER, "one", &[]),
        resource(BROKER, "1", &[("node.id", SET, Some("7"))]),
        resource(32, "group", &[]),
    ];
    let answers = ask(&port.context(), 1, asked, false).await;
    let codes: Vec<i16> = answers.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [42, 42, 42, 42, 40, 40, 40, 42, 3, 42, 102, 42, 42, 42]);
    assert_eq!(answers[0].1, "Each resource must appear at most once.");
    assert_eq!(answers[2].1, "Error due to duplicate config keys");
    assert_eq!(answers[3].1, "Null value not supported for : a, c");
    assert!(answers.iter().all(|(_, words)| !words.is_empty()));
    assert!(port.image().topics_by_id.values().all(|topic| topic.configs.is_empty()));
}

#[tokio::test]
async fn without_a_leader_it_times_out() {
    let port = cluster(1);
    port.topic("t", 1, 1).await;
    *port.failure.lock().unwrap() = Some(unavailable);
    let asked = vec![resource(TOPIC, "t", &[("retention.ms", DELETE, None)])];
    assert_eq!(ask(&port.context(), 1, asked, false).await[0].0, 7);
}
