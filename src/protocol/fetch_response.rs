//! FetchResponse, versions 4 to 18, encoded around record bytes that stay where they are.
//!
//! `kafka-wire` encodes records as bytes in memory. Here every run of records becomes a
//! [`Piece::Records`], so that file slices go out by `sendfile(2)`; all else of the response lies
//! in one buffer that is cut at the records.
//!
//! **Invariant:** with the records read in, the pieces are byte for byte what `kafka-wire` encodes
//! (tested for every version).

use bytes::{BufMut, BytesMut};
use kafka_wire_core::{EncodeError, StrBytes, Uuid};

use super::response::start;
use super::{ApiKey, Piece, RecordSlice, ResponseFrame};

/// A fetch response. Fields that a version lacks are left out of it.
#[derive(Clone, Debug)]
pub struct FetchResponse<R> {
    /// Quota delay in milliseconds.
    pub throttle_time_ms: i32,
    /// Error of the whole request (v7+).
    pub error_code: i16,
    /// Fetch session, 0 for none (v7+).
    pub session_id: i32,
    /// Answers by topic.
    pub topics: Vec<FetchTopic<R>>,
    /// Where the leaders that partitions name are reached (v16+).
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// A topic's part of the response.
#[derive(Clone, Debug)]
pub struct FetchTopic<R> {
    /// Name, up to v12.
    pub name: StrBytes,
    /// Id, from v13.
    pub id: Uuid,
    /// Answers by partition.
    pub partitions: Vec<FetchPartition<R>>,
}

/// A partition's part of the response.
#[derive(Clone, Debug)]
pub struct FetchPartition<R> {
    /// Its index.
    pub partition_index: i32,
    /// Kafka error code.
    pub error_code: i16,
    /// High watermark, −1 if unknown.
    pub high_watermark: i64,
    /// Last stable offset, −1 if unknown.
    pub last_stable_offset: i64,
    /// First offset that is kept (v5+), −1 if unknown.
    pub log_start_offset: i64,
    /// Epoch and end offset where the fetcher's log diverges (v12+).
    pub diverging_epoch: Option<(i32, i64)>,
    /// Id and epoch of the leader, for NOT_LEADER and FENCED answers (v12+).
    pub current_leader: Option<(i32, i32)>,
    /// Producer id and first offset of each aborted transaction in range; `None` for
    /// `read_uncommitted`.
    pub aborted_transactions: Option<Vec<(i64, i64)>>,
    /// Replica to read from instead (v11+), −1 for none.
    pub preferred_read_replica: i32,
    /// Runs of whole batches, in offset order.
    pub records: Vec<R>,
}

/// A broker's address.
#[derive(Clone, Debug)]
pub struct NodeEndpoint {
    /// Broker id.
    pub node_id: i32,
    /// Host name or address.
    pub host: StrBytes,
    /// Port.
    pub port: i32,
    /// Rack, if it has one.
    pub rack: Option<StrBytes>,
}

impl<R> Default for FetchResponse<R> {
    fn default() -> Self {
        Self {
            throttle_time_ms: 0,
            error_code: 0,
            session_id: 0,
            topics: Vec::new(),
            node_endpoints: Vec::new(),
        }
    }
}

impl<R> Default for FetchPartition<R> {
    fn default() -> Self {
        Self {
            partition_index: 0,
            error_code: 0,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            diverging_epoch: None,
            current_leader: None,
            aborted_transactions: None,
            preferred_read_replica: -1,
            records: Vec::new(),
        }
    }
}

impl<R: RecordSlice> FetchResponse<R> {
    /// Encodes the response to a request of `version`, which is an accepted one.
    ///
    /// # Errors
    /// [`EncodeError::FrameTooLarge`] beyond 2 GiB.
    pub fn encode(
        self,
        version: i16,
        correlation_id: i32,
    ) -> Result<ResponseFrame<R>, EncodeError> {
        let api = ApiKey::Fetch.api();
        debug_assert!(api.accepted.contains(version));
        let layout = Layout { version, flexible: api.is_flexible(version) };
        let mut size = Size::default();
        layout.response(&self, &mut size);
        let buffered = size.buffered;
        let buffer = start(api, version, correlation_id, buffered + size.records, buffered)?;
        let mut build = Build { buffer, cuts: Vec::new() };
        layout.response(&self, &mut build);
        Ok(build.assemble(self.topics))
    }
}

/// Takes the encoded bytes in order: a count first, a buffer then.
trait Sink {
    fn put(&mut self, bytes: &[u8]);
    /// Records stand here, `bytes` of them in all.
    fn records(&mut self, bytes: usize);

    fn i16(&mut self, value: i16) {
        self.put(&value.to_be_bytes());
    }
    fn i32(&mut self, value: i32) {
        self.put(&value.to_be_bytes());
    }
    fn i64(&mut self, value: i64) {
        self.put(&value.to_be_bytes());
    }
    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.put(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.put(&[value as u8]);
    }
}

#[derive(Default)]
struct Size {
    buffered: usize,
    records: usize,
}

impl Sink for Size {
    fn put(&mut self, bytes: &[u8]) {
        self.buffered += bytes.len();
    }
    fn records(&mut self, bytes: usize) {
        self.records += bytes;
    }
}

struct Build {
    buffer: BytesMut,
    /// Position in the buffer of each partition's records, partitions in order.
    cuts: Vec<usize>,
}

impl Sink for Build {
    fn put(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }
    fn records(&mut self, _: usize) {
        self.cuts.push(self.buffer.len());
    }
}

impl Build {
    fn assemble<R: RecordSlice>(mut self, topics: Vec<FetchTopic<R>>) -> ResponseFrame<R> {
        let mut pieces = Vec::new();
        let mut at = 0;
        let partitions = topics.into_iter().flat_map(|topic| topic.partitions);
        for (partition, cut) in partitions.zip(self.cuts) {
            if partition.records.is_empty() {
                continue;
            }
            pieces.push(Piece::Bytes(self.buffer.split_to(cut - at).freeze()));
            at = cut;
            pieces.extend(partition.records.into_iter().map(Piece::Records));
        }
        if !self.buffer.is_empty() {
            pieces.push(Piece::Bytes(self.buffer.freeze()));
        }
        ResponseFrame::from_pieces(pieces)
    }
}

/// Field order by version, as in `FetchResponse.json`.
#[derive(Clone, Copy)]
struct Layout {
    version: i16,
    flexible: bool,
}

impl Layout {
    fn response<R: RecordSlice>(self, response: &FetchResponse<R>, out: &mut impl Sink) {
        out.i32(response.throttle_time_ms);
        if self.version >= 7 {
            out.i16(response.error_code);
            out.i32(response.session_id);
        }
        self.count(response.topics.len(), out);
        for topic in &response.topics {
            self.topic(topic, out);
        }
        if self.flexible {
            self.response_tags(&response.node_endpoints, out);
        }
    }

    fn topic<R: RecordSlice>(self, topic: &FetchTopic<R>, out: &mut impl Sink) {
        if self.version >= 13 {
            out.put(topic.id.as_bytes());
        } else if self.flexible {
            compact_string(&topic.name, out);
        } else {
            // Cannot exceed an i16: a topic name of a request came in one, and names are ≤ 249.
            out.i16(topic.name.len() as i16);
            out.put(topic.name.as_bytes());
        }
        self.count(topic.partitions.len(), out);
        for partition in &topic.partitions {
            self.partition(partition, out);
        }
        if self.flexible {
            out.varint(0);
        }
    }

    fn partition<R: RecordSlice>(self, partition: &FetchPartition<R>, out: &mut impl Sink) {
        out.i32(partition.partition_index);
        out.i16(partition.error_code);
        out.i64(partition.high_watermark);
        out.i64(partition.last_stable_offset);
        if self.version >= 5 {
            out.i64(partition.log_start_offset);
        }
        match &partition.aborted_transactions {
            None if self.flexible => out.varint(0),
            None => out.i32(-1),
            Some(aborted) => {
                self.count(aborted.len(), out);
                for &(producer_id, first_offset) in aborted {
                    out.i64(producer_id);
                    out.i64(first_offset);
                    if self.flexible {
                        out.varint(0);
                    }
                }
            }
        }
        if self.version >= 11 {
            out.i32(partition.preferred_read_replica);
        }
        let bytes = partition.records.iter().map(RecordSlice::len).sum();
        self.count(bytes, out);
        out.records(bytes);
        if self.flexible {
            partition_tags(partition, out);
        }
    }

    /// The length of an array or of bytes, which are not null.
    fn count(self, count: usize, out: &mut impl Sink) {
        // `start` has refused, or will refuse, any frame whose lengths do not fit an i32.
        if self.flexible {
            out.varint((count as u32).wrapping_add(1));
        } else {
            out.i32(count as i32);
        }
    }

    fn response_tags(self, endpoints: &[NodeEndpoint], out: &mut impl Sink) {
        if self.version < 16 || endpoints.is_empty() {
            return out.varint(0);
        }
        let encode = |out: &mut dyn FnMut(&[u8])| {
            let mut out = Forward(out);
            self.count(endpoints.len(), &mut out);
            for endpoint in endpoints {
                out.i32(endpoint.node_id);
                compact_string(&endpoint.host, &mut out);
                out.i32(endpoint.port);
                match &endpoint.rack {
                    None => out.varint(0),
                    Some(rack) => compact_string(rack, &mut out),
                }
                out.varint(0);
            }
        };
        let mut bytes = 0;
        encode(&mut |part| bytes += part.len());
        out.varint(1);
        out.varint(0);
        out.varint(bytes as u32);
        encode(&mut |part| out.put(part));
    }
}

/// A sink that hands bytes on, for tag payloads whose length stands before them.
struct Forward<'a>(&'a mut dyn FnMut(&[u8]));

impl Sink for Forward<'_> {
    fn put(&mut self, bytes: &[u8]) {
        (self.0)(bytes);
    }
    fn records(&mut self, _: usize) {
        unreachable!("tag payloads hold no records");
    }
}

fn partition_tags<R>(partition: &FetchPartition<R>, out: &mut impl Sink) {
    // Kafka leaves out what equals the default; so must this, or kcat before 2.2 cannot connect.
    let diverging = partition.diverging_epoch.filter(|&tag| tag != (-1, -1));
    let leader = partition.current_leader.filter(|&tag| tag != (-1, -1));
    out.varint(u32::from(diverging.is_some()) + u32::from(leader.is_some()));
    if let Some((epoch, end_offset)) = diverging {
        out.put(&[0, 4 + 8 + 1]);
        out.i32(epoch);
        out.i64(end_offset);
        out.varint(0);
    }
    if let Some((leader_id, leader_epoch)) = leader {
        out.put(&[1, 4 + 4 + 1]);
        out.i32(leader_id);
        out.i32(leader_epoch);
        out.varint(0);
    }
}

fn compact_string(text: &StrBytes, out: &mut impl Sink) {
    out.varint(text.len() as u32 + 1);
    out.put(text.as_bytes());
}

#[cfg(test)]
#[path = "fetch_response_tests.rs"]
mod tests;
