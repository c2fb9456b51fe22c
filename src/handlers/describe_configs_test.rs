//! What DescribeConfigs answers.

use std::time::Duration;

use super::super::config_resource::{BROKER, TOPIC};
use super::super::fake_port::{FakePort, cluster, sent, words};
use super::super::metadata_port::MetadataPort;
use super::*;
use crate::metadata::{AlterConfigs, ConfigOp};

fn resource(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResource {
    let mut resource = DescribeConfigsResource::default();
    resource.resource_type = kind;
    resource.resource_name = wire::text(name);
    resource.configuration_keys = keys.map(|keys| keys.iter().map(wire::text).collect());
    resource
}

async fn ask(
    context: &MetadataContext,
    version: i16,
    resources: Vec<DescribeConfigsResource>,
    full: bool,
) -> Vec<DescribeConfigsResult> {
    let mut request = DescribeConfigsRequest::default();
    request.resources = resources;
    request.include_synonyms = full;
    request.include_documentation = full && version >= 3;
    let response = handle(context, version, sent(&request, version)).await;
    sent(&response, version).results
}

async fn set(port: &FakePort, target: ConfigTarget, key: &str, value: &str) {
    let ops = [(key.to_owned(), ConfigOp::Set(value.to_owned()))].into();
    let alter = vec![AlterConfigs { target, ops }];
    port.alter_configs(alter, false, Duration::ZERO).await.unwrap().remove(0).unwrap();
}

fn of<'a>(result: &'a DescribeConfigsResult, name: &str) -> &'a DescribeConfigsResourceResult {
    result.configs.iter().find(|config| config.name.as_str() == name).unwrap()
}

#[tokio::test]
async fn topics_show_all_their_configs_in_every_version() {
    let port = cluster(1);
    port.topic("t", 1, 1).await;
    set(&port, ConfigTarget::Topic("t".into()), "retention.ms", "5").await;
    set(&port, ConfigTarget::Cluster, "message.max.bytes", "777").await;
    let context = port.context();
    for version in 1..=4 {
        let plain = ask(&context, version, vec![resource(TOPIC, "t", None)], false).await.remove(0);
        assert_eq!((plain.error_code, plain.configs.len()), (0, TOPIC_CONFIGS.len()));
        let retention = of(&plain, "retention.ms");
        assert_eq!((words(&retention.value), retention.config_source), ("5", 1));
        assert!(!retention.read_only && !retention.is_sensitive);
        assert!(retention.synonyms.is_empty() && words(&retention.documentation).is_empty());
        assert_eq!(retention.config_type, if version >= 3 { 5 } else { 0 });
        let size = of(&plain, "max.message.bytes");
        assert_eq!((words(&size.value), size.config_source), ("777", 3));
        assert_eq!(of(&plain, "segment.bytes").config_source, 5);

        let full = ask(&context, version, vec![resource(TOPIC, "t", Some(&[]))], true).await;
        let retention = of(&full[0], "retention.ms");
        let synonyms: Vec<_> = retention
            .synonyms
            .iter()
            .map(|s| (s.name.as_str(), words(&s.value), s.source))
            .collect();
        let expected = [
            ("retention.ms", "5", 1),
            ("log.retention.hours", "2", 4),
            ("log.retention.hours", "168", 5),
        ];
        assert_eq!(synonyms, expected);
        assert_eq!(!words(&retention.documentation).is_empty(), version >= 3);
    }
}

#[tokio::test]
async fn keys_filter_and_unknown_ones_are_left_out() {
    let port = cluster(1);
    port.topic("t", 1, 1).await;
    let keys: &[&str] = &["segment.ms", "no.such"];
    let asked = vec![resource(TOPIC, "t", Some(keys)), resource(BROKER, "1", Some(&["node.id"]))];
    let results = ask(&port.context(), 4, asked, false).await;
    assert_eq!(results[0].configs.len(), 1);
    assert_eq!(results[1].configs.len(), 1);
    assert!(results[1].configs[0].read_only);
}

#[tokio::test]
async fn brokers_tell_of_themselves_and_of_all() {
    let port = cluster(2);
    set(&port, ConfigTarget::Broker(BrokerId(1)), "log.retention.ms", "9").await;
    set(&port, ConfigTarget::Cluster, "log.retention.ms", "8").await;
    let context = port.context();
    let asked =
        vec![resource(BROKER, "1", None), resource(BROKER, "", None), resource(BROKER, "2", None)];
    for version in 1..=4 {
        let results = ask(&context, version, asked.clone(), true).await;
        assert_eq!(results[0].configs.len(), broker_configs().len());
        let retention = of(&results[0], "log.retention.ms");
        assert_eq!((words(&retention.value), retention.config_source), ("9", 2));
        assert!(!retention.read_only && of(&results[0], "log.dirs").read_only);
        let hours = of(&results[0], "log.retention.hours");
        assert_eq!((words(&hours.value), hours.config_source), ("2", 4));
        let all: Vec<_> =
            results[1].configs.iter().map(|c| (c.name.as_str(), words(&c.value))).collect();
        assert_eq!(all, [("log.retention.ms", "8")]);
        assert_eq!(results[1].configs[0].config_source, 3);
        assert_eq!(results[2].error_code, 42);
        let text = "Unexpected broker id, expected 1 or empty string, but received 2";
        assert_eq!(words(&results[2].error_message), text);
    }
}

#[tokio::test]
async fn what_has_no_configs_here_is_refused() {
    let asked = vec![
        resource(TOPIC, "none", None),
        resource(TOPIC, "a/b", None),
        resource(BROKER, "x", None),
        resource(8, "1", None),
        resource(32, "g", None),
        resource(0, "", None),
    ];
    let results = ask(&cluster(1).context(), 4, asked, false).await;
    let codes: Vec<i16> = results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [3, 17, 42, 42, 42, 42]);
    assert!(results.iter().all(|result| !words(&result.error_message).is_empty()));
    assert_eq!(words(&results[4].error_message), "Unsupported resource type: GROUP");
}
