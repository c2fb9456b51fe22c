//! What strangers and broken clients send, against a real server: the connection is closed, one
//! line is logged, memory stays within bounds, and the next client is served.
#![allow(clippy::unwrap_used)]

mod wire_support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jackdaw::model::Timestamp;
use jackdaw::model::batch_builder::BatchBuilder;
use jackdaw::model::compression::Compression;
use jackdaw::model::record_batch::{BatchHeader, HEADER_BYTES};
use jackdaw::model::record_walk::{RecordRules, walk_compressed};
use jackdaw::protocol::client::encode_request;
use jackdaw::server::ServerOptions;
use kafka_wire::{ApiVersionsRequest, MetadataRequest};
use kafka_wire_core::KafkaDecode;
use proptest::prelude::*;
use wire_support::{Steered, metadata, soon, start};

/// Counts the bytes that are allocated, and their peak.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// One scenario at a time, since all share the counters.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is passed on to the system's allocator unchanged.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// The log of one scenario.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Outcome {
    /// Bytes that the server sent before it closed.
    answered: Vec<u8>,
    /// Lines that it logged.
    lines: Vec<String>,
    /// Bytes by which its memory grew at most.
    grown: usize,
}

fn options() -> ServerOptions {
    let frame_time_max = Duration::from_millis(200);
    ServerOptions { frame_time_max, ..ServerOptions::default() }
}

/// Sends `bytes` on a fresh connection and waits for its end. `leave`: closes the sending side.
async fn send(bytes: &[u8], leave: bool) -> Outcome {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let steering = Steered::steering();
    let running = start(options(), steering.handler.clone()).await;
    running.connect().await.round_trip("before").await;
    let mut client = running.connect().await;

    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let (mut reading, mut writing) = client.stream.split();
    let sending = async {
        // The server may close before all is sent.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut writing, bytes).await;
        if leave {
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut writing).await;
        }
    };
    let mut answered = Vec::new();
    let receiving = tokio::io::AsyncReadExt::read_to_end(&mut reading, &mut answered);
    let (_, received) = soon(async { tokio::join!(sending, receiving) }).await;
    let grown = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    if let Err(error) = received {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    running.connect().await.round_trip("after").await;
    drop(client);
    running.quiet().await;
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    Outcome { answered, lines: text.lines().map(str::to_owned).collect(), grown }
}

/// The connection is closed without an answer, with one line that says `why`.
async fn refused(bytes: &[u8], why: &str) -> Outcome {
    let outcome = send(bytes, false).await;
    assert_eq!(outcome.answered, b"");
    assert_eq!(outcome.lines.len(), 1, "{:?}", outcome.lines);
    assert!(outcome.lines[0].contains(why), "{}", outcome.lines[0]);
    outcome
}

fn header(length: i32, key: i16, version: i16) -> Vec<u8> {
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&key.to_be_bytes());
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, 1, 0, 2, b'm', b'e']);
    bytes
}

/// A request whose body is `body`, its length right.
fn request(key: i16, version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
    let mut bytes = header(0, key, version);
    if flexible {
        bytes.push(0);
    }
    bytes.extend_from_slice(body);
    let length = (bytes.len() - 4) as i32;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    bytes
}

#[tokio::test]
async fn impossible_lengths() {
    let _alone = ALONE.lock().await;
    for (length, why) in [
        (i32::MAX, "exceeds the limit of 104857600 bytes"),
        (100 << 20 | 1, "exceeds the limit of 104857600 bytes"),
        (-1, "length -1 is negative"),
        (i32::MIN, "is negative"),
        (0, "length 0 is too short"),
        (9, "length 9 is too short"),
    ] {
        // The length alone decides; nothing needs to follow.
        let outcome = refused(&length.to_be_bytes(), why).await;
        assert!(outcome.grown < 100 * KIB, "{length}: {} bytes", outcome.grown);
        refused(&header(length, 0, 9), why).await;
    }
}

#[tokio::test]
async fn large_frames_of_apis_without_records() {
    let _alone = ALONE.lock().await;
    let outcome = refused(&header(64 << 20, 3, 9), "exceeds the limit of 2097152 bytes").await;
    assert!(outcome.grown < 100 * KIB);
}

#[tokio::test]
async fn unknown_keys_and_versions_name_the_client() {
    let _alone = ALONE.lock().await;
    for (bytes, why) in [
        (header(20, 999, 1), "API key 999 (version 1) is not offered"),
        (header(20, -5, 0), "API key -5 (version 0) is not offered"),
        (header(20, 3, 99), "version 99 of Metadata is not supported"),
        (header(20, 0, 2), "version 2 of Produce is not supported"),
    ] {
        let outcome = refused(&bytes, why).await;
        assert!(outcome.lines[0].contains("client_id=\"me\""), "{}", outcome.lines[0]);
        assert!(outcome.lines[0].contains("address=127.0.0.1:"), "{}", outcome.lines[0]);
    }
}

#[tokio::test]
async fn unknown_versions_of_api_versions_are_answered() {
    let _alone = ALONE.lock().await;
    let outcome = send(&request(18, 77, false, b"\xff\xff\xff"), true).await;
    // Correlation id 1, error 35, one API: 18, versions 0 to 4.
    let expected = [0, 0, 0, 16, 0, 0, 0, 1, 0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4];
    // The client has left already, so the answer may be dropped with it, but never be another.
    assert!(outcome.answered.is_empty() || outcome.answered == expected);
    assert!(outcome.lines.is_empty(), "{:?}", outcome.lines);

    let steering = Steered::steering();
    let running = start(options(), steering.handler.clone()).await;
    let mut client = running.connect().await;
    client.send_raw(&request(18, 77, false, b"\xff\xff\xff")).await;
    assert_eq!(client.receive_frame().await.unwrap(), expected[4..]);
    // The connection goes on.
    client.send(&jackdaw::protocol::client::api_versions_request(), 4).await;
    let response = client.receive::<ApiVersionsRequest>(4, 1).await;
    assert_eq!(response.error_code, 0);
}

#[tokio::test]
async fn counts_beyond_the_bytes() {
    let _alone = ALONE.lock().await;
    let big = 0x7fff_ffff_i32.to_be_bytes();
    let outcome = refused(&request(3, 1, false, &big), "malformed request body").await;
    assert!(outcome.grown < 200 * KIB, "{} bytes", outcome.grown);
    // Metadata v9: a compact count of 2³² − 2.
    let compact = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let outcome = refused(&request(3, 9, true, &compact), "malformed request body").await;
    assert!(outcome.grown < 200 * KIB, "{} bytes", outcome.grown);
    // A string longer than the frame, a negative count, text that is none.
    refused(&request(3, 1, false, &[0, 0, 0, 1, 0x7f, 0xff]), "malformed request body").await;
    refused(&request(3, 1, false, &(-2_i32).to_be_bytes()), "malformed request body").await;
    refused(&request(3, 1, false, &[0, 0, 0, 1, 0, 1, 0xff]), "malformed request body").await;
}

#[tokio::test]
async fn small_elements_that_decode_to_much_memory() {
    let _alone = ALONE.lock().await;
    // Metadata v9: topics of two bytes each, an empty name and no tags.
    let count = MIB - 100;
    let mut body = Vec::new();
    let mut rest = count as u32 + 1;
    while rest >= 0x80 {
        body.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    body.push(rest as u8);
    body.extend(std::iter::repeat_n([1, 0], count).flatten());
    let bytes = request(3, 9, true, &body);
    let outcome = refused(&bytes, "malformed request body").await;
    assert!(outcome.grown < 4 * MIB, "{} bytes", outcome.grown);

    // Produce v9: one topic with partitions of six bytes each and no records.
    let count = 60_000_u32 + 1;
    let mut topic = vec![2, b't'];
    topic.extend([
        count as u8 & 0x7f | 0x80,
        (count >> 7) as u8 & 0x7f | 0x80,
        (count >> 14) as u8,
    ]);
    topic.extend(std::iter::repeat_n([0, 0, 0, 0, 0, 0], 60_000).flatten());
    topic.push(0);
    let mut body = vec![0, 0, 1, 0, 0, 0, 0, 101];
    body.extend(std::iter::repeat_n(topic, 100).flatten());
    body.push(0);
    let bytes = request(0, 9, true, &body);
    let sent = bytes.len();
    let outcome = refused(&bytes, "more than the request's bytes can hold batches for").await;
    assert!(outcome.grown < sent + MIB, "{} bytes for {sent}", outcome.grown);
}

/// The worst that was found for an API whose frames are bounded at 2 MiB: topics of as many empty
/// configs as an array may have, three bytes each.
#[test]
fn nested_small_elements() {
    let _alone = ALONE.blocking_lock();
    let configs = 100_000_u32;
    let compact = |count: u32| {
        let count = count + 1;
        [count as u8 | 0x80, (count >> 7) as u8 | 0x80, (count >> 14) as u8 & 0x7f]
    };
    let mut topic = vec![2, b't', 0, 0, 0, 1, 0, 1, 1];
    topic.extend(compact(configs));
    topic.extend(std::iter::repeat_n([1, 0, 0], configs as usize).flatten());
    topic.push(0);
    let mut body = vec![7];
    body.extend(std::iter::repeat_n(topic, 6).flatten());
    body.extend([0, 0, 0, 1, 0, 0]);
    assert!(body.len() < 2 * MIB);
    let body = bytes::Bytes::from(body);
    let limits = jackdaw::protocol::decode_limits(body.len());
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let version = kafka_wire_core::ApiVersion::new(7);
    let decoded = kafka_wire::CreateTopicsRequest::decode_from_bytes(body, version, limits);
    assert_eq!(decoded.unwrap().topics[5].configs.len(), 100_000);
    let grown = PEAK.load(Ordering::Relaxed) - before;
    assert!(grown < 100 * MIB, "{grown} bytes");
}

/// Records that decompress to a thousand times their size take the memory of a codec's windows.
#[test]
fn decompression_bombs() {
    let _alone = ALONE.blocking_lock();
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(Timestamp(0), None, Some(&vec![0; 100 * MIB]), &[]);
    let plain = builder.build().unwrap();
    for codec in [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd] {
        let packed = codec.compress(&plain[HEADER_BYTES..]).unwrap();
        let mut header = BatchHeader::parse(&plain).unwrap();
        header.attributes |= codec.code();
        for (bytes_max, passes) in [(128 * MIB, true), (64 * MIB, false)] {
            let before = NOW.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            let walked =
                walk_compressed(&header, &packed, bytes_max, &RecordRules::NONE, |_| Ok(()));
            let grown = PEAK.load(Ordering::Relaxed) - before;
            assert_eq!(walked.is_ok(), passes, "{codec}: {walked:?}");
            assert!(grown < 500 * KIB, "{codec}: {grown} bytes");
        }
    }
}

#[tokio::test]
async fn truncated_frames() {
    let _alone = ALONE.lock().await;
    let whole = encode_request(&metadata("topic"), 9, 1, "client").unwrap();
    for end in [1, 3, 4, 7, 8, 20, whole.len() - 1] {
        let outcome = send(&whole[..end], true).await;
        assert_eq!(outcome.answered, b"");
        assert_eq!(outcome.lines.len(), 1, "{end} bytes: {:?}", outcome.lines);
        assert!(outcome.lines[0].contains("closed by the client within a request"));
    }
    // A frame of the largest size that never comes: its memory is claimed but not more.
    let outcome = send(&header(100 << 20, 0, 9), true).await;
    assert!(outcome.grown <= 101 * MIB, "{} bytes", outcome.grown);
    assert!(outcome.lines[0].contains("closed by the client within a request"));
}

#[tokio::test]
async fn slow_frames() {
    let _alone = ALONE.lock().await;
    let whole = encode_request(&metadata("topic"), 9, 1, "client").unwrap();
    for end in [1, 6, 20] {
        refused(&whole[..end], "a frame was not complete in time").await;
    }
}

#[tokio::test]
async fn strangers() {
    let _alone = ALONE.lock().await;
    let mut hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
    hello.extend([0x5a; 500]);
    let outcome = refused(&hello, "TLS bytes on a plaintext listener").await;
    assert!(outcome.grown < 100 * KIB);
    let get = b"GET / HTTP/1.1\r\nHost: localhost:9092\r\n\r\n";
    refused(get, "an HTTP request on the Kafka port").await;
    refused(b"POST /topics HTTP/1.1\r\n\r\n", "an HTTP request on the Kafka port").await;
}

#[tokio::test]
async fn bytes_after_a_body_are_let_pass() {
    let _alone = ALONE.lock().await;
    let steering = Steered::steering();
    let running = start(options(), steering.handler.clone()).await;
    let mut client = running.connect().await;
    client.send_raw(&request(3, 1, false, &[0, 0, 0, 0, 9, 9])).await;
    client.receive::<MetadataRequest>(1, 1).await;
}

#[test]
fn random_bytes() {
    let _alone = ALONE.blocking_lock();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let noise = prop::collection::vec(any::<u8>(), 1..400);
    // Noise as it is, and behind a prefix that is admitted.
    let strategy = (noise, prop::option::of((0..4_i16, 3..14_i16)));
    let outcome = runner.run(&strategy, |(noise, admitted)| {
        let bytes = match admitted {
            Some((key, version)) => request(key, version, false, &noise),
            None => noise,
        };
        // Metadata may well be a request; fetch has no file to read here.
        let outcome = match admitted {
            Some((1 | 2, _)) => return Ok(()),
            _ => runtime.block_on(send(&bytes, true)),
        };
        prop_assert!(outcome.lines.len() <= 1, "{:?}", outcome.lines);
        prop_assert!(outcome.grown < 2 * MIB, "{} bytes", outcome.grown);
        Ok(())
    });
    outcome.unwrap();
}
