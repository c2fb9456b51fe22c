//! The walk against the decoder: what one lets pass, the other reads.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::model::batch_builder::BatchBuilder;
use crate::model::record_batch::HEADER_BYTES;
use crate::model::records::RecordBatch;

const BOUND: usize = 1 << 20;

/// Header and records of a batch with as many records as are given, none of them compressed.
fn encode(records: &[u8], count: i32) -> (BatchHeader, &[u8]) {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(Timestamp(1_000), None, None, &[]);
    let mut header = BatchHeader::parse(&builder.build().unwrap()).unwrap();
    (header.record_count, header.last_offset_delta) = (count, count - 1);
    (header, records)
}

fn outcome(records: &[u8], count: i32) -> String {
    let (header, records) = encode(records, count);
    let slice = walk(&header, records, &RecordRules::NONE);
    for codec in Compression::ALL {
        let mut header = header;
        header.attributes |= codec.code();
        let packed = codec.compress(records).unwrap();
        let streamed = walk_compressed(&header, &packed, BOUND, &RecordRules::NONE, |_| Ok(()));
        assert_eq!(format!("{streamed:?}"), format!("{slice:?}"), "{codec}");
    }
    slice.map_or_else(|error| error.to_string(), |walked| walked.max_timestamp.to_string())
}

#[test]
fn records_are_what_they_say_or_an_error() {
    // length · attributes · timestamp delta · offset delta · key · value · header count
    let good: &[u8] = &[14, 0, 2, 0, 1, 1, 0, 0];
    assert_eq!(outcome(&[12, 0, 2, 0, 1, 1, 0], 1), "1001");
    assert_eq!(outcome(&[12, 0xff, 1, 0, 1, 1, 0], 1), "999", "attributes are nobody's");
    assert_eq!(outcome(&[12, 0, 2, 0, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0], 2), "1001");
    let cases: [(&[u8], i32, &str); 16] = [
        (&[], 1, "record 0 is cut off"),
        (&[12, 0, 2, 0, 1, 1, 0], 2, "record 1 is cut off"),
        (&[12, 0, 2, 0, 1, 1, 0, 9], 1, "1 bytes follow the last record"),
        (&[12, 0, 2, 0, 1, 1, 0, 12, 0, 0, 2, 1, 1, 0], 1, "7 bytes follow the last record"),
        (good, 1, "record 0 has an impossible length"),
        (&[1], 1, "record 0 has an impossible length"),
        (&[10, 0, 2, 0, 1, 1, 0], 1, "record 0 has an impossible length"),
        (&[12, 0, 2, 2, 1, 1, 0], 1, "record 0 has an impossible offset delta"),
        (
            &[12, 0, 2, 0, 1, 1, 0, 12, 0, 0, 4, 1, 1, 0],
            2,
            "record 1 has an impossible offset delta",
        ),
        (&[12, 0, 2, 0, 3, 1, 0], 1, "record 0 has an impossible key length"),
        (&[12, 0, 2, 0, 8, 1, 0], 1, "record 0 has an impossible key length"),
        (&[12, 0, 2, 0, 1, 3, 0], 1, "record 0 has an impossible value length"),
        (&[12, 0, 2, 0, 1, 1, 1], 1, "record 0 has an impossible header count"),
        (&[16, 0, 2, 0, 1, 1, 2, 1, 1], 1, "record 0 has an impossible header name"),
        (&[18, 0, 2, 0, 1, 1, 2, 2, 0xff, 1], 1, "record 0 has an impossible header name"),
        (&[0xff; 30], 1, "record 0 has an impossible varint"),
    ];
    for (records, count, expected) in cases {
        assert_eq!(outcome(records, count), expected, "{records:?}");
    }
}

#[test]
fn records_that_break_rules_are_named_and_counted() {
    let mut builder = BatchBuilder::new(Compression::None);
    for (time, key) in [(10, Some(&b"k"[..])), (20, None), (-1, Some(b"k")), (99, None)] {
        builder.append(Timestamp(time), key, None, &[]);
    }
    let batch = builder.build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    let walked = |oldest, newest, key_required| {
        let (oldest, newest) = (Timestamp(oldest), Timestamp(newest));
        let rules = RecordRules { oldest, newest, key_required };
        walk(&header, &batch[HEADER_BYTES..], &rules).unwrap()
    };
    assert_eq!(walked(10, 99, false).faults, []);
    assert_eq!(
        walked(11, 98, false).faults,
        [(0, Fault::Timestamp(Timestamp(10))), (3, Fault::Timestamp(Timestamp(99))),]
    );
    assert_eq!(walked(10, 98, true).faults, [(1, Fault::NoKey), (3, Fault::NoKey)]);
    assert_eq!(walked(10, 98, true).max_timestamp, Timestamp(99));

    let mut builder = BatchBuilder::new(Compression::None);
    (0..100).for_each(|_| builder.append(Timestamp(0), None, None, &[]));
    let batch = builder.build().unwrap();
    let rules = RecordRules { key_required: true, ..RecordRules::NONE };
    let header = BatchHeader::parse(&batch).unwrap();
    let walked = walk(&header, &batch[HEADER_BYTES..], &rules).unwrap();
    assert_eq!((walked.faults.len(), walked.fault_count), (FAULTS_TOLD_MAX, 100));
}

#[test]
fn a_bomb_is_refused_at_the_bound() {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    let value = vec![0; 32 << 20];
    builder.append(Timestamp(0), None, Some(&value), &[]);
    let batch = builder.build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    let mut seen = 0;
    let outcome =
        walk_compressed(&header, &batch[HEADER_BYTES..], BOUND, &RecordRules::NONE, |piece| {
            seen += piece.len();
            Ok(())
        });
    let too_large = matches!(
        outcome,
        Err(RecordError::Compression(CompressionError::TooLarge { limit: BOUND }))
    );
    assert!(too_large, "{outcome:?}");
    assert!(seen <= BOUND + (64 << 10), "{seen}");
}

fn field() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..100))
}

type Fields = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn fields() -> impl Strategy<Value = Fields> {
    let headers = prop::collection::vec(("[a-zä]{0,8}", field()), 0..3);
    (-1..i64::MAX / 2, field(), field(), headers)
}

fn build(records: &[Fields], compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::new(compression);
    for (timestamp, key, value, headers) in records {
        let headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
        builder.append(Timestamp(*timestamp), key.as_deref(), value.as_deref(), &headers);
    }
    builder.build().unwrap().to_vec()
}

/// The outcome of the walk over a batch whose CRC is right.
fn walk_batch(batch: &[u8]) -> Result<Walked, RecordError> {
    let header = BatchHeader::parse(batch).unwrap();
    let records = &batch[HEADER_BYTES..];
    if header.codec() == 0 {
        walk(&header, records, &RecordRules::NONE)
    } else {
        walk_compressed(&header, records, BOUND, &RecordRules::NONE, |_| Ok(()))
    }
}

proptest! {
    #[test]
    fn what_producers_send_passes(records in prop::collection::vec(fields(), 1..20)) {
        let newest = records.iter().map(|record| record.0).max().unwrap();
        for codec in Compression::ALL {
            let walked = walk_batch(&build(&records, codec)).unwrap();
            prop_assert_eq!(walked.max_timestamp, Timestamp(newest));
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_decodes(
        records in prop::collection::vec(fields(), 1..6),
        at in any::<prop::sample::Index>(),
        change in 1_u8..,
    ) {
        for codec in Compression::ALL {
            let mut batch = build(&records, codec);
            let at = HEADER_BYTES + at.index(batch.len() - HEADER_BYTES);
            batch[at] ^= change;
            let crc = crc32c::crc32c(&batch[21..]);
            batch[17..21].copy_from_slice(&crc.to_be_bytes());
            let Ok(walked) = walk_batch(&batch) else { continue };
            let decoded = RecordBatch::decode(&Bytes::from(batch), BOUND).unwrap();
            let read: Vec<_> = decoded.iter().map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), records.len());
            let newest = read.iter().map(|record| record.timestamp).max().unwrap();
            prop_assert_eq!(walked.max_timestamp, newest.max(Timestamp::NONE));
            let offsets = read.iter().map(|record| record.offset.0);
            prop_assert!(offsets.eq(0..records.len() as i64));
        }
    }
}
