//! Produce requests as parts for the socket, so that record bytes are neither copied nor encoded again.
//!
//! ```text
//! length i32 · header · transactionalId null · acks i16 · timeoutMs i32 · 1 topic: name,
//!   partitions, each: index i32 · length of records · batch
//! ```
//! From version 9 on lengths are unsigned varints plus one, and each structure ends with its (no) tags.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::connection::CLIENT_ID;
use crate::model::record_batch::HEADER_BYTES;

/// The newest Produce version that names topics; version 13 takes ids.
pub(crate) const PRODUCE_BY_NAME: i16 = 12;
/// Most batches in one request: the socket takes a bounded number of parts.
pub(crate) const BATCH_OF_REQUEST_MAX: usize = 512;
/// Oldest version with record batches (Kafka 0.11), and the first with tags.
const OLDEST: i16 = 3;
const FLEXIBLE: i16 = 9;
const API_KEY: i16 = 0;
/// Smaller bodies are copied: a part costs more than that.
const COPIED_BYTES_MAX: usize = 2048;

/// A Produce request for one topic that is being put together.
pub(crate) struct ProduceFrame {
    is_flexible: bool,
    parts: Vec<Bytes>,
    text: BytesMut,
}

impl ProduceFrame {
    /// Begins a request for `batches` partitions of `topic`.
    ///
    /// # Panics
    /// On a version before 3, which has no record batches.
    pub(crate) fn new(
        version: i16,
        correlation: i32,
        (acks, timeout_ms): (i16, i32),
        topic: &str,
        batches: usize,
    ) -> Self {
        assert!((OLDEST..=PRODUCE_BY_NAME).contains(&version), "Produce {version}");
        let is_flexible = version >= FLEXIBLE;
        let mut text = BytesMut::with_capacity(128 + batches * (HEADER_BYTES + 16));
        text.put_i16(API_KEY);
        text.put_i16(version);
        text.put_i32(correlation);
        text.put_i16(CLIENT_ID.len() as i16);
        text.put_slice(CLIENT_ID.as_bytes());
        if is_flexible {
            text.put_u8(0); // tags of the header
            text.put_u8(0); // no transactional id
        } else {
            text.put_i16(-1);
        }
        text.put_i16(acks);
        text.put_i32(timeout_ms);
        let mut frame = Self { is_flexible, parts: vec![Bytes::new()], text };
        frame.put_count(1);
        if is_flexible {
            frame.put_varint(topic.len() + 1);
        } else {
            frame.text.put_i16(topic.len() as i16);
        }
        frame.text.put_slice(topic.as_bytes());
        frame.put_count(batches);
        frame
    }

    /// Adds a partition's batch: its header, and its records as they lie in memory.
    pub(crate) fn batch(&mut self, partition: i32, header: &[u8; HEADER_BYTES], records: Bytes) {
        let length = HEADER_BYTES + records.len();
        self.text.put_i32(partition);
        if self.is_flexible {
            self.put_varint(length + 1);
        } else {
            self.text.put_i32(length as i32);
        }
        self.text.put_slice(header);
        if records.len() <= COPIED_BYTES_MAX {
            self.text.put_slice(&records);
        } else {
            self.parts.push(self.text.split().freeze());
            self.parts.push(records);
        }
        self.end_of_structure();
    }

    /// The whole frame, its length field first.
    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        self.end_of_structure(); // the topic
        self.end_of_structure(); // the request
        self.parts.push(self.text.freeze());
        let length: usize = self.parts.iter().map(Bytes::len).sum();
        self.parts[0] = Bytes::copy_from_slice(&(length as i32).to_be_bytes());
        self.parts
    }

    fn put_count(&mut self, count: usize) {
        if self.is_flexible {
            self.put_varint(count + 1);
        } else {
            self.text.put_i32(count as i32);
        }
    }

    fn put_varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.text.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.text.put_u8(value as u8);
    }

    fn end_of_structure(&mut self) {
        if self.is_flexible {
            self.text.put_u8(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka_wire::ProduceRequest;
    use kafka_wire::produce_request::{PartitionProduceData, TopicProduceData};
    use kafka_wire_core::StrBytes;

    use super::*;
    use crate::protocol::client::encode_request;

    #[test]
    fn every_version_is_what_the_codec_writes() {
        let batches: Vec<Bytes> = [70, 4000, 200_000]
            .map(|length| (0..length).map(|n| (n % 251) as u8).collect())
            .to_vec();
        for version in OLDEST..=PRODUCE_BY_NAME {
            let mut topic = TopicProduceData::default();
            topic.name = StrBytes::from("orders");
            for (index, batch) in batches.iter().enumerate() {
                let mut data = PartitionProduceData::default();
                data.index = index as i32 * 1000;
                data.records = Some(batch.clone());
                topic.partition_data.push(data);
            }
            let mut request = ProduceRequest::default();
            (request.acks, request.timeout_ms) = (-1, 1234);
            request.transactional_id = None;
            request.topic_data = vec![topic];
            let expected = encode_request(&request, version, 77, CLIENT_ID).unwrap();

            let mut frame = ProduceFrame::new(version, 77, (-1, 1234), "orders", batches.len());
            for (index, batch) in batches.iter().enumerate() {
                let header = batch.first_chunk().unwrap();
                frame.batch(index as i32 * 1000, header, batch.slice(HEADER_BYTES..));
            }
            let parts = frame.finish();
            assert_eq!(parts.concat(), expected, "version {version}");
            assert!(parts.iter().any(|part| part.as_ptr() == batches[2][HEADER_BYTES..].as_ptr()));
        }
    }
}
