//! What DeleteTopics answers.

use super::super::fake_port::{cluster, sent, unavailable, words};
use super::super::metadata_port::MetadataPort;
use super::*;

fn by(name: Option<&str>, id: TopicId) -> DeleteTopicState {
    let mut topic = DeleteTopicState::default();
    topic.name = wire::option(name);
    topic.topic_id = wire::uuid(id);
    topic
}

async fn ask(
    context: &MetadataContext,
    version: i16,
    topics: Vec<DeleteTopicState>,
) -> Vec<DeletableTopicResult> {
    let mut request = DeleteTopicsRequest::default();
    request.timeout_ms = 1000;
    if version >= 6 {
        request.topics = topics;
    } else {
        request.topic_names = topics.into_iter().filter_map(|topic| topic.name).collect();
    }
    let response = handle(context, version, sent(&request, version)).await;
    sent(&response, version).responses
}

fn codes(results: &[DeletableTopicResult]) -> Vec<(&str, i16)> {
    results.iter().map(|r| (r.name.as_deref().unwrap_or("-"), r.error_code)).collect()
}

#[tokio::test]
async fn every_version_deletes_by_name() {
    let port = cluster(1);
    let context = port.context();
    for version in 1..=6 {
        let id = port.topic("t", 1, 1).await;
        let asked = ["t", "none", "dup", "dup"].map(|name| by(Some(name), TopicId::ZERO));
        let results = ask(&context, version, asked.to_vec()).await;
        assert_eq!(codes(&results), [("t", 0), ("none", 3), ("dup", 42)]);
        assert_eq!(results[0].topic_id == wire::uuid(id), version >= 6);
        if version >= 5 {
            assert!(results[0].error_message.is_none());
            let text = "This server does not host this topic-partition.";
            assert_eq!(words(&results[1].error_message), text);
            assert_eq!(words(&results[2].error_message), "Duplicate topic name.");
        }
        assert!(port.image().topics_by_id.is_empty());
    }
}

#[tokio::test]
async fn ids_and_names_mix_as_in_kafka() {
    let port = cluster(1);
    let context = port.context();
    let mut ids = Vec::new();
    for name in ["foo", "bar", "baz", "gone", "kept"] {
        ids.push(port.topic(name, 1, 1).await);
    }
    let (foo, bar, baz, gone) = (ids[0], ids[1], ids[2], ids[3]);
    let asked = vec![
        by(None, TopicId::ZERO),
        by(Some("foo"), foo),
        by(Some("bar"), TopicId::ZERO),
        by(None, bar),
        by(None, baz),
        by(None, baz),
        by(None, gone),
        by(None, TopicId(99)),
    ];
    let results = ask(&context, 6, asked).await;
    let expected = [("-", 42), ("foo", 42), ("bar", 42), ("-", 42), ("gone", 0), ("-", 100)];
    assert_eq!(codes(&results), expected);
    let said: Vec<&str> = results.iter().map(|result| words(&result.error_message)).collect();
    assert_eq!(said[0], "Neither topic name nor id were specified.");
    assert_eq!(said[1], "You may not specify both topic name and topic id.");
    assert_eq!(said[2], "The provided topic name maps to an ID that was already supplied.");
    assert_eq!(said[3], "Duplicate topic id.");
    assert_eq!(said[5], "This server does not host this topic ID.");
    assert_eq!(results[2].topic_id, wire::uuid(bar));
    assert_eq!(results[4].topic_id, wire::uuid(gone));
    let left: Vec<String> = port.image().topics_by_name.keys().map(ToString::to_string).collect();
    assert_eq!(left, ["bar", "baz", "foo", "kept"]);
}

#[tokio::test]
async fn without_a_leader_it_times_out() {
    let port = cluster(1);
    port.topic("t", 1, 1).await;
    *port.failure.lock().unwrap() = Some(unavailable);
    let results = ask(&port.context(), 6, vec![by(Some("t"), TopicId::ZERO)]).await;
    assert_eq!(codes(&results), [("t", 7)]);
    assert!(ask(&port.context(), 6, vec![]).await.is_empty());
}
