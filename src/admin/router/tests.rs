//! The endpoint over a real socket, with a broker that only remembers.

use std::sync::Mutex;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::*;
use crate::admin::PartitionHealth;
use crate::metrics::Readings;

#[derive(Default)]
struct Fake {
    reasons: Mutex<Vec<String>>,
    topics: Mutex<Vec<TopicView>>,
}

impl AdminBackend for Fake {
    fn readings(&self) -> Readings {
        Readings { quarantined: 7, ..Readings::default() }
    }

    /// One partition, which says what was asked for.
    fn partitions(&self, asked: PartitionsAsked) -> PartitionsPage {
        let topic = format!("{asked:?}");
        let partition = PartitionHealth::new(topic, 0, Some(1), vec![1], Vec::new());
        PartitionsPage { partitions: vec![partition], next: None }
    }

    fn not_ready(&self) -> Vec<String> {
        self.reasons.lock().unwrap().clone()
    }

    fn cluster(&self) -> ClusterView {
        ClusterView {
            cluster: "test".into(),
            node: 1,
            topics: self.topics.lock().unwrap().clone(),
            ..ClusterView::default()
        }
    }

    fn create_topic(&self, topic: NewTopic) -> BoxFuture<'_, Result<TopicView, AdminError>> {
        Box::pin(async move {
            let mut topics = self.topics.lock().unwrap();
            if topics.iter().any(|known| known.name == topic.name) {
                return Err(AdminError::new(
                    AdminErrorKind::Conflict,
                    "TOPIC_ALREADY_EXISTS",
                    "there is a topic of this name",
                    "choose another name",
                ));
            }
            let view = TopicView { name: topic.name, ..TopicView::default() };
            topics.push(view.clone());
            Ok(view)
        })
    }

    fn delete_topic(&self, name: String) -> BoxFuture<'_, Result<(), AdminError>> {
        Box::pin(async move {
            self.topics.lock().unwrap().retain(|topic| topic.name != name);
            Ok(())
        })
    }
}

struct Endpoint {
    fake: Arc<Fake>,
    address: std::net::SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Endpoint {
    async fn start() -> Self {
        let fake = Arc::new(Fake::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let backend: Arc<dyn AdminBackend> = fake.clone();
        let metrics = Arc::new(Metrics::new(1));
        tokio::spawn(serve(listener, backend, metrics, async move {
            let _ = stopped.await;
        }));
        Self { fake, address, _stop: stop }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }
}

#[tokio::test]
async fn health_tells_why_it_is_not_ready() {
    let endpoint = Endpoint::start().await;
    assert_eq!(endpoint.ask("GET", "/health/live", "").await.0, 200);
    assert_eq!(endpoint.ask("GET", "/health/ready", "").await.0, 200);
    endpoint.fake.reasons.lock().unwrap().push("no metadata leader".into());
    let (status, body) = endpoint.ask("GET", "/health/ready", "").await;
    assert_eq!(status, 503);
    assert_eq!(body, r#"{"ready":false,"reasons":["no metadata leader"]}"#);
    assert_eq!(endpoint.ask("GET", "/health/live", "").await.0, 200);
}

#[tokio::test]
async fn topics_are_made_listed_and_deleted() {
    let endpoint = Endpoint::start().await;
    let (status, body) = endpoint.ask("POST", "/api/v1/topics", r#"{"name":"orders"}"#).await;
    assert_eq!(status, 201, "{body}");
    let (status, body) = endpoint.ask("POST", "/api/v1/topics", r#"{"name":"orders"}"#).await;
    assert_eq!(status, 409);
    assert!(body.contains(r#""error":"TOPIC_ALREADY_EXISTS""#), "{body}");
    assert!(endpoint.ask("GET", "/api/v1/topics", "").await.1.contains("orders"));
    assert_eq!(endpoint.ask("DELETE", "/api/v1/topics/orders", "").await.0, 204);
    assert_eq!(endpoint.ask("GET", "/api/v1/topics", "").await.1, "[]");
}

#[tokio::test]
async fn bad_requests_get_json_that_says_what_to_do() {
    let endpoint = Endpoint::start().await;
    let large = format!(r#"{{"name":"{}"}}"#, "x".repeat(BODY_BYTES_MAX));
    for (method, path, body, status, code) in [
        ("POST", "/api/v1/topics", "{", 400, "INVALID_REQUEST"),
        ("POST", "/api/v1/topics", r#"{"nam":"x"}"#, 400, "INVALID_REQUEST"),
        ("POST", "/api/v1/topics", large.as_str(), 413, "BODY_TOO_LARGE"),
        ("PUT", "/api/v1/topics", "", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/api/v1/partitions?after=x", "", 400, "INVALID_REQUEST"),
        ("GET", "/api/v1/partitions?unhealthy=yes", "", 400, "INVALID_REQUEST"),
        ("GET", "/api/v1/partitions?other=1", "", 400, "INVALID_REQUEST"),
        ("GET", "/api/v2", "", 404, "UNKNOWN_PATH"),
    ] {
        let (got, answer) = endpoint.ask(method, path, body).await;
        assert_eq!(got, status, "{method} {path}: {answer}");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["error"], code);
        assert!(!answer["hint"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn metrics_and_cluster_answer() {
    let endpoint = Endpoint::start().await;
    let (status, text) = endpoint.ask("GET", "/metrics", "").await;
    assert_eq!(status, 200);
    assert!(text.contains("jackdaw_build_info") && text.contains("jackdaw_quarantined_replicas 7"));
    let (_, body) = endpoint.ask("GET", "/api/v1/cluster", "").await;
    let view: ClusterView = serde_json::from_str(&body).unwrap();
    assert_eq!((view.cluster.as_str(), view.node), ("test", 1));
}

#[tokio::test]
async fn partitions_are_asked_for_by_page() {
    let endpoint = Endpoint::start().await;
    for (query, unhealthy, after, limit) in [
        ("", false, None, PAGE_DEFAULT),
        ("?unhealthy=true&limit=0", true, None, 1),
        ("?after=a-b-12&limit=99999999", false, Some(("a-b".to_owned(), 12)), PAGE_MAX),
    ] {
        let (status, body) = endpoint.ask("GET", &format!("/api/v1/partitions{query}"), "").await;
        assert_eq!(status, 200, "{body}");
        let page: PartitionsPage = serde_json::from_str(&body).unwrap();
        let asked = PartitionsAsked { unhealthy, after, limit };
        assert_eq!(page.partitions[0].topic, format!("{asked:?}"));
        assert_eq!(page.partitions[0].state.to_string(), "healthy");
    }
}
