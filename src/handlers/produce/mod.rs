//! Produce, in two stages: every batch is queued before the connection reads on, which keeps their
//! order, and the answer follows when they are as durable as `acks` asks.
//!
//! Versions 3–13 (KIP-98 batches only). `acks=all` is answered after a majority has synced, `acks=1`
//! after the leader has, `acks=0` never: there an error closes the connection, as in Kafka.
//!
//! Records are looked at, and compressed anew where the topic asks for it, in the first stage, on the
//! connection's own task: so the order of a connection's batches needs no other care.
//!
//! **Invariant:** the time-out of the request ends the wait, not the append: the answer then is
//! REQUEST_TIMED_OUT, and the records may still be committed.

mod accept;
mod refusal;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_wire::produce_response::{
    NodeEndpoint, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use tokio::time::Instant;

use super::context::{Context, TopicRef};
use super::{CloseReason, Outcome, Reply, Request, leader_wait};
use crate::model::{Offset, PartitionIndex, Timestamp};
use crate::partition::{Acks, AppendHandle, Partition, PartitionError};
use crate::protocol::ErrorCode;
use accept::Accepted;
use refusal::Refusal;
use validate::validate;

/// The first version that names topics by id.
const TOPIC_IDS_SINCE: i16 = 13;
/// Since this version a moved partition's answer names its new leader (KIP-951).
const LEADER_HINT_SINCE: i16 = 10;

/// One partition's batch, queued or refused.
struct Queued {
    index: i32,
    outcome: Result<Append, Refusal>,
}

/// A batch on its way into the log.
struct Append {
    handle: AppendHandle,
    /// The time stamped on it, if the topic wants that.
    append_time: Option<Timestamp>,
}

/// Where a batch went, and the time stamped on it.
type Appended = (Offset, Option<Timestamp>);

/// One topic's batches.
struct QueuedTopic {
    topic: TopicRef,
    partitions: Vec<Queued>,
}

/// Queues every batch of the request, in order; the answer follows when they are durable. Without an answer (`acks=0`)
/// nobody waits for a leader but the connection: what it queued would have no bound.
pub(crate) async fn begin(ctx: &Context, request: Request) -> Outcome {
    let body = match request.decode::<ProduceRequest>() {
        Ok(body) => body,
        Err(reason) => return reason.into(),
    };
    let meta = request.meta;
    let version = meta.version;
    let Some(acks) = acks(body.acks) else {
        return meta.respond(&refuse_all(body, version)).into();
    };
    let deadline = Instant::now() + Duration::from_millis(body.timeout_ms.max(0) as u64);
    if acks == Acks::None {
        leader_wait::until_ready(new_ones(ctx, version, &body)).await;
    }
    let topics: Vec<QueuedTopic> =
        body.topic_data.into_iter().map(|topic| queue_topic(ctx, version, acks, topic)).collect();
    if acks == Acks::None {
        let mut refused = topics.iter().flat_map(|topic| &topic.partitions);
        return match refused.find_map(|queued| queued.outcome.as_ref().err()) {
            Some(refusal) => CloseReason::Unacknowledged(refusal.code).into(),
            None => Reply::None.into(),
        };
    }
    let ctx = ctx.clone();
    Outcome::Pending(Box::pin(async move {
        meta.respond(&answer(&ctx, version, topics, deadline).await)
    }))
}

fn new_ones(ctx: &Context, version: i16, body: &ProduceRequest) -> Vec<Arc<Partition>> {
    let partitions = body.topic_data.iter().flat_map(|topic| {
        let by_id = version >= TOPIC_IDS_SINCE;
        let named = TopicRef::of(by_id, topic.name.clone(), topic.topic_id);
        topic.partition_data.iter().map(move |partition| (named.clone(), partition.index))
    });
    leader_wait::new_ones(ctx, partitions)
}

fn acks(acks: i16) -> Option<Acks> {
    match acks {
        -1 => Some(Acks::All),
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        _ => None,
    }
}

fn queue_topic(ctx: &Context, version: i16, acks: Acks, data: TopicProduceData) -> QueuedTopic {
    let topic = TopicRef::of(version >= TOPIC_IDS_SINCE, data.name, data.topic_id);
    let partitions = data
        .partition_data
        .into_iter()
        .map(|partition| Queued {
            index: partition.index,
            outcome: queue(ctx, version, acks, &topic, partition),
        })
        .collect();
    QueuedTopic { topic, partitions }
}

fn queue(
    ctx: &Context,
    version: i16,
    acks: Acks,
    topic: &TopicRef,
    data: PartitionProduceData,
) -> Result<Append, Refusal> {
    let (_, partition) = ctx.resolve(topic, PartitionIndex(data.index))?;
    partition.check_room()?;
    let bytes = data.records.as_ref().map_or(0, Bytes::len);
    let accepted = validate(data.records, version, &partition.limits(), ctx.clock.now())?;
    let Accepted { batch, header, append_time } = accepted;
    if acks == Acks::None {
        partition.check_leader(-1)?;
    }
    ctx.metrics.records_in.inc_by(header.record_count as u64);
    ctx.metrics.bytes_in.inc_by(bytes as u64);
    ctx.metrics.batches_in.inc();
    Ok(Append { handle: partition.append(batch, header, acks), append_time })
}

async fn answer(
    ctx: &Context,
    version: i16,
    topics: Vec<QueuedTopic>,
    deadline: Instant,
) -> ProduceResponse {
    let mut response = ProduceResponse::default();
    for queued in topics {
        let mut topic = topic_response(&queued.topic);
        for partition in queued.partitions {
            let outcome = match partition.outcome {
                Err(refusal) => Err(refusal),
                Ok(append) => committed(append, deadline).await,
            };
            let mut answer = partition_response(partition.index, outcome);
            if answer.error_code == ErrorCode::NotLeaderOrFollower.code() {
                hint_leader(ctx, version, &queued.topic, &mut answer, &mut response.node_endpoints);
            } else if answer.error_code == 0
                && let Ok((_, partition)) =
                    ctx.resolve(&queued.topic, PartitionIndex(partition.index))
            {
                answer.log_start_offset = partition.log().start_offset().0;
                if answer.log_append_time_ms != Timestamp::NONE.0
                    && let Some(time) = stored_time(&partition, Offset(answer.base_offset))
                {
                    answer.log_append_time_ms = time.0;
                }
            }
            topic.partition_responses.push(answer);
        }
        response.responses.push(topic);
    }
    response
}

async fn committed(append: Append, deadline: Instant) -> Result<Appended, Refusal> {
    let outcome = tokio::time::timeout_at(deadline, append.handle.wait()).await;
    Ok((outcome.unwrap_or(Err(PartitionError::Uncertain))?, append.append_time))
}

/// The append time of the batch at `base`: of a retry, its original has one of its own.
fn stored_time(partition: &Partition, base: Offset) -> Option<Timestamp> {
    let mut headers = partition.log().batch_headers(base, base.advance(1)).ok()?;
    let stored = headers.next()?.ok()?.header;
    (stored.base_offset == base).then_some(stored.max_timestamp)
}

fn topic_response(topic: &TopicRef) -> TopicProduceResponse {
    let mut answer = TopicProduceResponse::default();
    answer.name = topic.wire_name();
    answer.topic_id = topic.wire_id();
    answer
}

fn partition_response(index: i32, outcome: Result<Appended, Refusal>) -> PartitionProduceResponse {
    let mut answer = PartitionProduceResponse::default();
    answer.index = index;
    answer.base_offset = -1;
    answer.log_append_time_ms = -1;
    answer.log_start_offset = -1;
    match outcome {
        Ok((base, append_time)) => {
            answer.base_offset = base.0;
            answer.log_append_time_ms = append_time.unwrap_or(Timestamp::NONE).0;
        }
        Err(refusal) => {
            answer.error_code = refusal.code.code();
            answer.record_errors = refusal.record_errors();
            answer.error_message = Some(refusal.message.into());
        }
    }
    answer
}

/// Names the new leader beside NOT_LEADER_OR_FOLLOWER, so that the client need not ask (KIP-951).
fn hint_leader(
    ctx: &Context,
    version: i16,
    topic: &TopicRef,
    answer: &mut PartitionProduceResponse,
    endpoints: &mut Vec<NodeEndpoint>,
) {
    ctx.redirects.note();
    if version < LEADER_HINT_SINCE {
        return;
    }
    let Some(hint) = ctx.leader_hint(topic, PartitionIndex(answer.index)) else {
        return;
    };
    answer.current_leader.leader_id = hint.leader.0;
    answer.current_leader.leader_epoch = hint.epoch.0;
    if !endpoints.iter().any(|endpoint| endpoint.node_id == hint.leader.0) {
        let mut endpoint = NodeEndpoint::default();
        endpoint.node_id = hint.leader.0;
        endpoint.host = hint.host.as_str().into();
        endpoint.port = i32::from(hint.port);
        endpoint.rack = hint.rack.as_deref().map(Into::into);
        endpoints.push(endpoint);
    }
}

fn refuse_all(request: ProduceRequest, version: i16) -> ProduceResponse {
    let code = ErrorCode::InvalidRequiredAcks;
    let mut response = ProduceResponse::default();
    for data in request.topic_data {
        let mut topic =
            topic_response(&TopicRef::of(version >= TOPIC_IDS_SINCE, data.name, data.topic_id));
        for partition in data.partition_data {
            let answer = partition_response(partition.index, Err(code.into()));
            topic.partition_responses.push(answer);
        }
        response.responses.push(topic);
    }
    response
}
