//! How much of a request's claims is believed when it is decoded.
//!
//! `kafka-wire` grows arrays only as elements decode, so a count that the bytes cannot back costs
//! nothing; what remains is amplification, an element of one to three bytes becoming a struct of
//! 50 to 100. Per-API frame limits (`Api::frame_bytes_max`), the bound on array lengths here and
//! [`check_produce_shape`] keep the decoded form of any request below the largest frame.
//!
//! **Invariant:** memory for a decoded request is bounded by its frame's length and by constants.

use bytes::Buf;
use kafka_wire_core::DecodeLimits;

use super::{Api, ApiKey};

/// Most elements of one array: a metadata request for every topic of a large cluster fits.
const ARRAY_ELEMENTS_MAX: usize = 100_000;
/// Kafka's own bound for strings, also for compact ones (`CompactString` in `Type.java`).
const STRING_BYTES_MAX: usize = i16::MAX as usize;
/// Tags that this build does not know are kept by the codec; clients send none or few.
const TAGS_MAX: usize = 16;
const TAG_BYTES_MAX: usize = 64 << 10;
/// Produce requests below this size are decoded without a look at their shape.
const PRODUCE_UNCHECKED_BYTES: usize = 2 << 20;
/// Fewest bytes per partition of a large produce request, on average. A batch header alone is 61.
const PRODUCE_PARTITION_BYTES_MIN: usize = 64;

/// The limits for a message of `bytes` bytes.
#[must_use]
pub fn decode_limits(bytes: usize) -> DecodeLimits {
    let mut limits = DecodeLimits::default();
    limits.max_frame_bytes = bytes;
    limits.max_string_bytes = bytes.min(STRING_BYTES_MAX);
    limits.max_bytes_bytes = bytes;
    limits.max_array_elements = bytes.min(ARRAY_ELEMENTS_MAX);
    limits.max_tagged_fields = TAGS_MAX;
    limits.max_tag_bytes = bytes.min(TAG_BYTES_MAX);
    limits.max_total_tag_bytes = bytes.min(TAG_BYTES_MAX);
    limits
}

/// Refuses a large produce request whose partitions are so many that they cannot all hold a batch.
///
/// Walks lengths only. Whether the body is otherwise well-formed is left to the decoder: a walk
/// that runs off the end passes here and fails there.
///
/// # Errors
/// `Err(partitions)` if there are more partitions than the bytes can hold batches.
pub fn check_produce_shape(api: &Api, version: i16, body: &[u8]) -> Result<(), usize> {
    if api.key != ApiKey::Produce || body.len() <= PRODUCE_UNCHECKED_BYTES {
        return Ok(());
    }
    let allowed = body.len() / PRODUCE_PARTITION_BYTES_MIN;
    let mut walk = Walk { bytes: body, compact: api.is_flexible(version) };
    match walk.count_partitions(version, allowed) {
        Some(partitions) if partitions > allowed => Err(partitions),
        _ => Ok(()),
    }
}

/// Steps over a produce request's fields; `None` once the bytes run out.
struct Walk<'a> {
    bytes: &'a [u8],
    compact: bool,
}

impl Walk<'_> {
    /// Topics plus partitions, counted until they exceed `enough`.
    fn count_partitions(&mut self, version: i16, enough: usize) -> Option<usize> {
        self.skip_sized(2)?; // transactional id
        self.skip(2 + 4)?; // acks, timeout
        let mut seen = 0;
        for _ in 0..self.count(4)? {
            seen += 1;
            if version >= 13 {
                self.skip(16)?
            } else {
                self.skip_sized(2)?
            }
            for _ in 0..self.count(4)? {
                seen += 1;
                if seen > enough {
                    return Some(seen);
                }
                self.skip(4)?; // index
                self.skip_sized(4)?; // records
                self.skip_tags()?;
            }
            self.skip_tags()?;
        }
        Some(seen)
    }

    /// An array's or a field's length, 0 where it is null; `width` bytes unless compact.
    fn count(&mut self, width: usize) -> Option<usize> {
        if self.compact {
            return Some(self.varint()?.saturating_sub(1));
        }
        let length = match width {
            2 => i32::from(self.bytes.try_get_i16().ok()?),
            _ => self.bytes.try_get_i32().ok()?,
        };
        Some(usize::try_from(length).unwrap_or(0))
    }

    fn skip_sized(&mut self, width: usize) -> Option<()> {
        let length = self.count(width)?;
        self.skip(length)
    }

    fn skip_tags(&mut self) -> Option<()> {
        if self.compact {
            for _ in 0..self.varint()? {
                self.varint()?;
                let length = self.varint()?;
                self.skip(length)?;
            }
        }
        Some(())
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.bytes = self.bytes.get(length..)?;
        Some(())
    }

    fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.bytes.try_get_u8().ok()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use kafka_wire::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
    use kafka_wire_core::{ApiVersion, KafkaDecode, KafkaEncode};

    use super::*;

    fn produce(topics: usize, partitions: usize, records: usize) -> ProduceRequest {
        let mut partition = PartitionProduceData::default();
        partition.records = Some(Bytes::from(vec![7; records]));
        let mut topic = TopicProduceData::default();
        topic.partition_data = vec![partition; partitions];
        let mut request = ProduceRequest::default();
        request.topic_data = vec![topic; topics];
        request
    }

    fn check(request: &ProduceRequest, version: i16) -> Result<(), usize> {
        let body = request.encode_to_bytes(ApiVersion::new(version)).unwrap();
        check_produce_shape(ApiKey::Produce.api(), version, &body)
    }

    #[test]
    fn many_empty_partitions_are_refused_and_real_ones_are_not() {
        for version in ApiKey::Produce.api().accepted.min..=ApiKey::Produce.api().accepted.max {
            assert_eq!(check(&produce(8, 5_000, 80), version), Ok(()), "version {version}");
            assert!(check(&produce(8, 90_000, 0), version).is_err(), "version {version}");
            assert_eq!(check(&produce(1, 1, 3 << 20), version), Ok(()), "version {version}");
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_costs_nothing() {
        // Metadata v1: an array of 0x7fffffff names, and no bytes behind it.
        let body = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]);
        let limits = decode_limits(body.len());
        let decoded =
            kafka_wire::MetadataRequest::decode_from_bytes(body, ApiVersion::new(1), limits);
        assert!(decoded.is_err());
    }
}
