//! A server on loopback with a handler that tests steer, and a client of whole frames.
#![allow(dead_code)] // each test binary uses a part

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jackdaw::handlers::api_versions::{self, Features};
use jackdaw::handlers::{
    CloseReason, ConnectionState, Outcome, RecordSource, Reply, Request, RequestHandler, typed,
};
use jackdaw::protocol::client::{decode_response, encode_request};
use jackdaw::protocol::{
    ApiKey, ErrorCode, FetchPartition, FetchResponse, FetchTopic, RecordSlice,
};
use jackdaw::server::{Server, ServerOptions};
use kafka_wire::metadata_response::MetadataResponseTopic;
use kafka_wire::{
    FetchRequest, HeartbeatRequest, HeartbeatResponse, MetadataRequest, MetadataResponse,
    ProduceRequest, ProduceResponse, RequestResponsePair,
};
use kafka_wire_core::{StrBytes, Uuid};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// No condition here takes longer on a working server.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A heartbeat of this generation makes the handler panic.
pub(crate) const PANICS: i32 = i32::MIN;

/// Waits for a condition that must come true.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this should have happened long ago")
}

/// Answers Metadata at once (it echoes the topics), Heartbeat and Produce when the test says so,
/// Fetch from a file.
pub(crate) struct Steered {
    /// Generation ids of heartbeats, or acks of produce requests, as they begin.
    begun: mpsc::UnboundedSender<i32>,
    /// Told when a pending answer is dropped unfinished.
    dropped: mpsc::UnboundedSender<i32>,
    gates: Mutex<HashMap<i32, oneshot::Receiver<()>>>,
    file: Mutex<Option<Arc<File>>>,
}

/// The test's end of [`Steered`].
pub(crate) struct Steering {
    pub(crate) handler: Arc<Steered>,
    pub(crate) begun: mpsc::UnboundedReceiver<i32>,
    pub(crate) dropped: mpsc::UnboundedReceiver<i32>,
}

impl Steered {
    pub(crate) fn steering() -> Steering {
        let (begun_sender, begun) = mpsc::unbounded_channel();
        let (dropped_sender, dropped) = mpsc::unbounded_channel();
        let handler = Arc::new(Self {
            begun: begun_sender,
            dropped: dropped_sender,
            gates: Mutex::default(),
            file: Mutex::default(),
        });
        Steering { handler, begun, dropped }
    }

    /// The gate that the heartbeat of generation `id` waits at.
    pub(crate) fn gate(&self, id: i32) -> oneshot::Sender<()> {
        let (open, gate) = oneshot::channel();
        self.gates.lock().unwrap().insert(id, gate);
        open
    }

    /// What fetches read.
    pub(crate) fn set_file(&self, content: &[u8]) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        *self.file.lock().unwrap() = Some(Arc::new(file));
    }

    fn at_gate(&self, id: i32, answer: impl Future<Output = Reply> + Send + 'static) -> Outcome {
        let gate = self.gates.lock().unwrap().remove(&id);
        let watch = Watch { id, finished: false, dropped: self.dropped.clone() };
        self.begun.send(id).unwrap();
        Outcome::Pending(Box::pin(async move {
            // As a whole: alone, its flag would be copied and the watch stay outside.
            let mut watch = watch;
            if let Some(gate) = gate {
                gate.await.expect("the test opens every gate that it made");
            }
            watch.finished = true;
            answer.await
        }))
    }

    fn heartbeat(&self, request: Request) -> Outcome {
        let body: HeartbeatRequest = match request.decode() {
            Ok(body) => body,
            Err(reason) => return reason.into(),
        };
        let id = body.generation_id;
        assert!(id != PANICS, "this is what the test wants");
        self.at_gate(id, async move {
            let mut response = HeartbeatResponse::default();
            response.throttle_time_ms = id;
            request.meta.respond(&response)
        })
    }

    fn produce(&self, request: Request) -> Outcome {
        let body: ProduceRequest = match request.decode() {
            Ok(body) => body,
            Err(reason) => return reason.into(),
        };
        match body.acks {
            0 => {
                self.begun.send(0).unwrap();
                Reply::None.into()
            }
            -2 => CloseReason::Unacknowledged(ErrorCode::CorruptMessage).into(),
            acks => {
                let meta = request.meta;
                self.at_gate(acks.into(), async move {
                    // The body stays alive for as long as its bytes count.
                    drop(body);
                    meta.respond(&ProduceResponse::default())
                })
            }
        }
    }

    /// Partition `n` of a request at offset `o` and with `m` bytes is answered with the `m` bytes
    /// of the file from `o` on, in two slices.
    fn fetch(&self, request: &Request) -> Outcome {
        let body: FetchRequest = request.decode().unwrap();
        let file = self.file.lock().unwrap().clone().unwrap();
        let slice = |position: u64, len: usize| -> Box<dyn RecordSource> {
            Box::new(Slice { file: Arc::clone(&file), position, len })
        };
        let mut response = FetchResponse::default();
        for topic in body.topics {
            let mut partitions = Vec::new();
            for asked in topic.partitions {
                let len = asked.partition_max_bytes as usize;
                let (at, half) = (asked.fetch_offset as u64, len / 2);
                let mut records = vec![slice(at, half), slice(at + half as u64, len - half)];
                records.retain(|slice| slice.len() > 0);
                let partition_index = asked.partition;
                partitions.push(FetchPartition {
                    partition_index,
                    records,
                    ..FetchPartition::default()
                });
            }
            response.topics.push(FetchTopic { name: topic.topic, id: topic.topic_id, partitions });
        }
        request.meta.respond_fetch(response).into()
    }
}

struct Watch {
    id: i32,
    finished: bool,
    dropped: mpsc::UnboundedSender<i32>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.dropped.send(self.id);
        }
    }
}

struct Slice {
    file: Arc<File>,
    position: u64,
    len: usize,
}

impl RecordSlice for Slice {
    fn len(&self) -> usize {
        self.len
    }
}

impl RecordSource for Slice {
    fn send_to(&mut self, socket: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        let mut offset = self.position;
        let want = self.len.min(max);
        let sent = rustix::fs::sendfile(socket, &*self.file, Some(&mut offset), want)?;
        self.position += sent as u64;
        self.len -= sent;
        Ok(sent)
    }

    fn read(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.len];
        self.file.read_exact_at(&mut bytes, self.position)?;
        Ok(Bytes::from(bytes))
    }
}

fn echo(body: MetadataRequest) -> MetadataResponse {
    let mut response = MetadataResponse::default();
    for topic in body.topics.unwrap_or_default() {
        let mut echoed = MetadataResponseTopic::default();
        echoed.name = topic.name;
        response.topics.push(echoed);
    }
    response
}

impl RequestHandler for Steered {
    fn handle<'a>(
        &'a self,
        connection: &'a ConnectionState,
        request: Request,
    ) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match request.meta.api_key {
                ApiKey::ApiVersions => {
                    api_versions::handle(connection, &request, &Features::default())
                }
                ApiKey::Metadata => {
                    typed(request, |_, body: MetadataRequest| async move { echo(body) }).await
                }
                ApiKey::Heartbeat => self.heartbeat(request),
                ApiKey::Produce => self.produce(request),
                ApiKey::Fetch => self.fetch(&request),
                other => panic!("no test asks for {other}"),
            }
        })
    }
}

/// A running server.
pub(crate) struct Running {
    pub(crate) server: Server,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) shutdown: watch::Sender<bool>,
    pub(crate) task: JoinHandle<()>,
}

pub(crate) async fn start(options: ServerOptions, handler: Arc<Steered>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(options, handler);
    let (shutdown, signal) = watch::channel(false);
    let serving = server.clone();
    let task = tokio::spawn(async move { serving.serve(listener, signal).await });
    Running { server, address, shutdown, task }
}

impl Running {
    pub(crate) async fn connect(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream, correlation_id: 0 }
    }

    /// Waits until no connection is open and nothing is in work.
    pub(crate) async fn quiet(&self) {
        soon(async {
            while self.server.stats().connections.get() > 0 || self.server.in_flight_bytes() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) correlation_id: i32,
}

impl Client {
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Sends a request; its correlation id counts up from 1.
    pub(crate) async fn send<Req: RequestResponsePair>(&mut self, request: &Req, version: i16) {
        self.correlation_id += 1;
        let frame = encode_request(request, version, self.correlation_id, "tester").unwrap();
        self.send_raw(&frame).await;
    }

    /// Receives the frame of the next response, or `None` where the server closed.
    pub(crate) async fn receive_frame(&mut self) -> Option<Bytes> {
        let mut length = [0; 4];
        soon(self.stream.read_exact(&mut length)).await.ok()?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        soon(self.stream.read_exact(&mut frame)).await.unwrap();
        Some(Bytes::from(frame))
    }

    /// Receives the response to the request that was sent as number `correlation_id`.
    pub(crate) async fn receive<Req: RequestResponsePair>(
        &mut self,
        version: i16,
        correlation_id: i32,
    ) -> Req::Response {
        let frame = self.receive_frame().await.expect("a response");
        decode_response::<Req>(frame, version, correlation_id).unwrap()
    }

    /// Waits until the server has closed the connection, and returns what came before.
    pub(crate) async fn until_closed(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match soon(self.stream.read_to_end(&mut rest)).await {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
        rest
    }

    pub(crate) async fn round_trip(&mut self, name: &str) {
        self.send(&metadata(name), 9).await;
        let id = self.correlation_id;
        let response = self.receive::<MetadataRequest>(9, id).await;
        assert_eq!(response.topics[0].name.as_ref().unwrap().as_str(), name);
    }
}

pub(crate) fn metadata(name: &str) -> MetadataRequest {
    let mut topic = kafka_wire::metadata_request::MetadataRequestTopic::default();
    topic.name = Some(StrBytes::from(name));
    let mut request = MetadataRequest::default();
    request.topics = Some(vec![topic]);
    request
}

pub(crate) fn heartbeat(id: i32) -> HeartbeatRequest {
    let mut request = HeartbeatRequest::default();
    request.generation_id = id;
    request
}

pub(crate) fn produce(acks: i16, bytes: usize) -> ProduceRequest {
    let mut partition = kafka_wire::produce_request::PartitionProduceData::default();
    partition.records = Some(Bytes::from(vec![7; bytes]));
    let mut topic = kafka_wire::produce_request::TopicProduceData::default();
    topic.name = StrBytes::from("t");
    topic.partition_data = vec![partition];
    let mut request = ProduceRequest::default();
    request.acks = acks;
    request.topic_data = vec![topic];
    request
}

/// A fetch of `(offset, bytes)` from as many partitions.
pub(crate) fn fetch(parts: &[(i64, i32)]) -> FetchRequest {
    let mut topic = kafka_wire::fetch_request::FetchTopic::default();
    topic.topic_id = Uuid::from_bytes([1; 16]);
    for (index, &(offset, bytes)) in parts.iter().enumerate() {
        let mut partition = kafka_wire::fetch_request::FetchPartition::default();
        partition.partition = index as i32;
        partition.fetch_offset = offset;
        partition.partition_max_bytes = bytes;
        topic.partitions.push(partition);
    }
    let mut request = FetchRequest::default();
    request.topics = vec![topic];
    request
}
