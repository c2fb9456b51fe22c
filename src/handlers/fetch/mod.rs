//! Fetch: whole batches below the high watermark, sent from the segment files without a copy.
//!
//! Versions 4–18. A request that finds fewer than `min_bytes` waits on the high watermarks of its
//! partitions, for at most `max_wait_ms`; nothing is polled. The first batch of the first partition
//! that has any is sent whole even when it is larger than both byte limits (KIP-74), so that a
//! consumer always gets on. A request for a partition whose new leader is not ready yet waits for that as well,
//! for a moment.
//!
//! **Invariant:** record bytes are never read here: answers carry [`FileSlice`]s.

mod session;
mod wait;

use std::time::Duration;

use kafka_wire::fetch_request::FetchRequest;
use kafka_wire_core::{StrBytes, Uuid};
use tokio::time::Instant;

use super::context::{Context, TopicRef};
use super::errors::KafkaCode;
use super::{Outcome, Records, Request};
use crate::model::compression::{Codec, Compression};
use crate::model::{LeaderEpoch, Offset, PartitionIndex};
use crate::partition::{Partition, PartitionError, READY_WAIT, Read};
use crate::protocol::{
    ErrorCode, FetchPartition, FetchResponse, FetchTopic, NodeEndpoint, RecordSlice,
};
pub use session::SessionCache;
use session::{FetchPlan, FetchTarget, SessionError, SessionRequest, Told};
use wait::Watches;

/// The first version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// The first version whose answers say where a named leader is reached (KIP-951).
const ENDPOINTS_SINCE: i16 = 16;
/// The first version whose clients all know zstd (KIP-110).
const ZSTD_SINCE: i16 = 10;
/// Most bytes of one answer (`fetch.max.bytes` of the broker, Kafka's default).
const FETCH_BYTES_MAX: usize = 55 << 20;

/// One partition's part of an answer, before it is known whether it is news.
struct Fetched {
    target: FetchTarget,
    answer: FetchPartition<Records>,
}

/// What one look at all partitions found.
struct Look {
    fetched: Vec<Fetched>,
    bytes: usize,
    /// An error or a diverging log, which is answered at once.
    urgent: bool,
    /// This node was elected for a partition a moment ago, and cannot serve it yet.
    is_early: bool,
}

/// The limits of one request.
#[derive(Clone, Copy)]
struct Bounds {
    min_bytes: usize,
    max_bytes: usize,
    deadline: Instant,
}

/// Opens or continues the session, in request order; the answer follows when there is enough.
pub(crate) fn begin(ctx: &Context, request: Request) -> Outcome {
    let body = match request.decode::<FetchRequest>() {
        Ok(body) => body,
        Err(reason) => return reason.into(),
    };
    let meta = request.meta;
    let bounds = Bounds {
        min_bytes: usize::try_from(body.min_bytes).unwrap_or(0),
        max_bytes: usize::try_from(body.max_bytes).unwrap_or(0).min(FETCH_BYTES_MAX),
        deadline: Instant::now() + Duration::from_millis(body.max_wait_ms.max(0) as u64),
    };
    match plan(ctx, meta.version, body) {
        Err(error) => meta.respond_fetch(refused(error)).into(),
        Ok(plan) => {
            let ctx = ctx.clone();
            Outcome::Pending(Box::pin(async move {
                meta.respond_fetch(run(&ctx, meta.version, plan, bounds).await)
            }))
        }
    }
}

fn plan(ctx: &Context, version: i16, request: FetchRequest) -> Result<FetchPlan, SessionError> {
    let by_id = version >= TOPIC_IDS_SINCE;
    let session = SessionRequest { id: request.session_id, epoch: request.session_epoch, by_id };
    let mut targets = Vec::new();
    for topic in request.topics {
        // A session outlives its request: it must not keep the request's buffer.
        let name = StrBytes::from(topic.topic.as_str());
        let key = TopicRef::of(by_id, name, topic.topic_id);
        targets.extend(topic.partitions.into_iter().map(|partition| FetchTarget {
            topic: key.clone(),
            partition: partition.partition,
            fetch_offset: partition.fetch_offset,
            max_bytes: partition.partition_max_bytes,
            current_leader_epoch: partition.current_leader_epoch,
            last_fetched_epoch: partition.last_fetched_epoch,
        }));
    }
    let forgotten: Vec<_> = request
        .forgotten_topics_data
        .into_iter()
        .flat_map(|topic| {
            let key = TopicRef::of(by_id, topic.topic, topic.topic_id);
            topic.partitions.into_iter().map(move |partition| (key.clone(), partition))
        })
        .collect();
    ctx.fetch_sessions.begin(session, targets, &forgotten, ctx.clock.now())
}

fn refused(error: SessionError) -> FetchResponse<Records> {
    let code = match error {
        SessionError::NotFound => ErrorCode::FetchSessionIdNotFound,
        SessionError::Epoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicId => ErrorCode::FetchSessionTopicIdError,
    };
    FetchResponse { error_code: code.code(), ..FetchResponse::default() }
}

async fn run(
    ctx: &Context,
    version: i16,
    plan: FetchPlan,
    bounds: Bounds,
) -> FetchResponse<Records> {
    let mut watches = Watches::new(ctx, &plan.targets);
    let patience = Instant::now() + READY_WAIT;
    loop {
        // Marked as seen before the look: what moves during it wakes the wait after it.
        watches.mark_seen();
        let look = look(ctx, version, &plan.targets, bounds.max_bytes);
        let enough = look.urgent || look.bytes >= bounds.min_bytes || plan.targets.is_empty();
        // A client takes longer to come again after an error than a new leader to become ready.
        let waits = look.is_early && !look.urgent && Instant::now() < patience;
        let is_over = Instant::now() >= bounds.deadline;
        if is_over || !waits && (enough || look.is_early) {
            return respond(ctx, version, &plan, look);
        }
        drop(look);
        // Whether it moved or the time is over, the next look decides.
        if waits {
            let until = patience.min(bounds.deadline);
            drop(tokio::time::timeout_at(until, watches.role_moved()).await);
        } else {
            drop(tokio::time::timeout_at(bounds.deadline, watches.moved()).await);
        }
    }
}

fn look(ctx: &Context, version: i16, targets: &[FetchTarget], max_bytes: usize) -> Look {
    let fetched = Vec::with_capacity(targets.len());
    let mut look = Look { fetched, bytes: 0, urgent: false, is_early: false };
    for target in targets {
        let left = max_bytes.saturating_sub(look.bytes);
        let partition_max = usize::try_from(target.max_bytes).unwrap_or(0);
        let answer = fetch_one(ctx, version, target, left.min(partition_max), look.bytes == 0);
        look.bytes += record_bytes(&answer);
        let is_early =
            answer.error_code == ErrorCode::OffsetNotAvailable.code() && will_be_ready(ctx, target);
        look.is_early |= is_early;
        look.urgent |= answer.error_code != 0 && !is_early || answer.diverging_epoch.is_some();
        look.fetched.push(Fetched { target: target.clone(), answer });
    }
    look
}

/// Whether a leader that was not ready a moment ago will be in another, or is by now.
fn will_be_ready(ctx: &Context, target: &FetchTarget) -> bool {
    let found = ctx.resolve(&target.topic, PartitionIndex(target.partition));
    found.is_ok_and(|(_, partition)| partition.is_new() || partition.check_leader(-1).is_ok())
}

fn fetch_one(
    ctx: &Context,
    version: i16,
    target: &FetchTarget,
    max_bytes: usize,
    min_one: bool,
) -> FetchPartition<Records> {
    let mut answer =
        FetchPartition { partition_index: target.partition, ..FetchPartition::default() };
    let partition = match ctx.resolve(&target.topic, PartitionIndex(target.partition)) {
        Ok((_, partition)) => partition,
        Err(code) => {
            answer.error_code = code.code();
            return answer;
        }
    };
    let zstd = |codec: Codec| codec.compression == Compression::Zstd;
    if version < ZSTD_SINCE && partition.limits().codec.is_some_and(zstd) {
        answer.error_code = ErrorCode::UnsupportedCompressionType.code();
        return answer;
    }
    match read(&partition, target, max_bytes, min_one) {
        Ok(Found::Records(read)) => {
            answer.high_watermark = read.high_watermark.0;
            // Without transactions everything below the high watermark is stable.
            answer.last_stable_offset = read.high_watermark.0;
            answer.log_start_offset = read.start.0;
            answer.records =
                read.slices.into_iter().map(|slice| Box::new(slice) as Records).collect();
        }
        Ok(Found::Diverged(epoch, end)) => {
            answer.high_watermark = partition.high_watermark().0;
            answer.last_stable_offset = answer.high_watermark;
            answer.log_start_offset = partition.log().start_offset().0;
            answer.diverging_epoch = Some((epoch.0, end.0));
        }
        Err(error) => answer.error_code = error.kafka_code().code(),
    }
    answer
}

/// Bytes of records in one partition's answer.
fn record_bytes(answer: &FetchPartition<Records>) -> usize {
    answer.records.iter().map(|records| records.len()).sum()
}

enum Found {
    Records(Read),
    Diverged(LeaderEpoch, Offset),
}

fn read(
    partition: &Partition,
    target: &FetchTarget,
    max_bytes: usize,
    min_one: bool,
) -> Result<Found, PartitionError> {
    let from = Offset(target.fetch_offset);
    if target.last_fetched_epoch >= 0 {
        partition.check_leader(target.current_leader_epoch)?;
        let ends = partition.epoch_end(LeaderEpoch(target.last_fetched_epoch));
        let (epoch, end) = ends.ok_or_else(|| PartitionError::OffsetOutOfRange {
            asked: from,
            start: partition.log().start_offset(),
            end: partition.log().end_offset(),
        })?;
        if epoch.0 < target.last_fetched_epoch || end < from {
            return Ok(Found::Diverged(epoch, end));
        }
    }
    partition.read(from, max_bytes, min_one, target.current_leader_epoch).map(Found::Records)
}

fn respond(ctx: &Context, version: i16, plan: &FetchPlan, look: Look) -> FetchResponse<Records> {
    let mut response = FetchResponse { session_id: plan.session_id, ..FetchResponse::default() };
    for Fetched { target, mut answer } in look.fetched {
        let told = Told {
            high_watermark: answer.high_watermark,
            log_start_offset: answer.log_start_offset,
        };
        let failed = answer.error_code != 0 || answer.diverging_epoch.is_some();
        if !plan.tell(&target, told, !answer.records.is_empty(), failed) {
            continue;
        }
        hint_leader(ctx, version, &target, &mut answer, &mut response.node_endpoints);
        ctx.metrics.bytes_out.inc_by(record_bytes(&answer) as u64);
        push(&mut response.topics, &target.topic, answer);
    }
    response
}

/// Adds a partition to its topic's answer; targets of one topic stand together as a rule.
fn push(topics: &mut Vec<FetchTopic<Records>>, topic: &TopicRef, answer: FetchPartition<Records>) {
    let (name, id): (StrBytes, Uuid) = (topic.wire_name(), topic.wire_id());
    match topics.last_mut().filter(|last| last.name == name && last.id == id) {
        Some(last) => last.partitions.push(answer),
        None => topics.push(FetchTopic { name, id, partitions: vec![answer] }),
    }
}

fn hint_leader(
    ctx: &Context,
    version: i16,
    target: &FetchTarget,
    answer: &mut FetchPartition<Records>,
    endpoints: &mut Vec<NodeEndpoint>,
) {
    let moved = [ErrorCode::NotLeaderOrFollower.code(), ErrorCode::FencedLeaderEpoch.code()];
    if !moved.contains(&answer.error_code) {
        return;
    }
    ctx.redirects.note();
    if version < ENDPOINTS_SINCE {
        return;
    }
    let Some(hint) = ctx.leader_hint(&target.topic, PartitionIndex(target.partition)) else {
        return;
    };
    answer.current_leader = Some((hint.leader.0, hint.epoch.0));
    if !endpoints.iter().any(|endpoint| endpoint.node_id == hint.leader.0) {
        endpoints.push(NodeEndpoint {
            node_id: hint.leader.0,
            host: hint.host.as_str().into(),
            port: i32::from(hint.port),
            rack: hint.rack.as_deref().map(Into::into),
        });
    }
}
