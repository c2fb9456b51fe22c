//! Round trips through every codec, golden bytes, and hostile records.

use proptest::prelude::*;

use super::*;
use crate::model::batch_builder::BatchBuilder;
use crate::model::record_batch::CRC_START;
use crate::model::{ProducerEpoch, ProducerId};

type Owned = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..200))
}

fn record() -> impl Strategy<Value = Owned> {
    let headers = prop::collection::vec(("[a-zä]{0,8}", bytes()), 0..4);
    (0..i64::MAX / 2, bytes(), bytes(), headers)
}

fn build(records: &[Owned], compression: Compression) -> Bytes {
    let mut builder = BatchBuilder::new(compression).producer(ProducerId(77), ProducerEpoch(3), 12);
    for (timestamp, key, value, headers) in records {
        let headers: Vec<Header<'_>> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        builder.append(Timestamp(*timestamp), key.as_deref(), value.as_deref(), &headers);
    }
    builder.build().unwrap()
}

proptest! {
    #[test]
    fn round_trip(records in prop::collection::vec(record(), 1..20)) {
        for compression in Compression::ALL {
            let encoded = build(&records, compression);
            let batch = RecordBatch::decode(&encoded, 1 << 20).unwrap();
            prop_assert_eq!(batch.header().producer_id, ProducerId(77));
            prop_assert_eq!(batch.header().base_sequence, 12);
            let decoded: Vec<_> = batch.iter().map(Result::unwrap).collect();
            prop_assert_eq!(decoded.len(), records.len());
            for (index, (read, wrote)) in decoded.iter().zip(&records).enumerate() {
                prop_assert_eq!(read.offset, Offset(index as i64));
                prop_assert_eq!(read.timestamp, Timestamp(wrote.0));
                prop_assert_eq!(read.key, wrote.1.as_deref());
                prop_assert_eq!(read.value, wrote.2.as_deref());
                let headers: Vec<Header<'_>> =
                    wrote.3.iter().map(|(n, v)| (n.as_str(), v.as_deref())).collect();
                prop_assert_eq!(&read.headers, &headers);
            }
        }
    }

    #[test]
    fn hostile_record_bytes_end_in_an_error_or_in_records(
        records in prop::collection::vec(record(), 1..4),
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        let mut encoded = build(&records, Compression::None).to_vec();
        let at = HEADER_BYTES + at.index(encoded.len() - HEADER_BYTES);
        encoded[at] = value;
        let encoded = seal(encoded);
        let batch = RecordBatch::decode(&encoded, 1 << 20).unwrap();
        let outcomes: Vec<_> = batch.iter().take(10).collect();
        prop_assert!(outcomes.len() <= records.len());
        let first_error = outcomes.iter().position(Result::is_err);
        prop_assert!(first_error.is_none_or(|at| at == outcomes.len() - 1));
    }
}

/// Repairs length and CRC after a change to the records.
fn seal(mut batch: Vec<u8>) -> Bytes {
    let length = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(batch)
}

#[test]
fn golden_batch() {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(Timestamp(1_000), Some(b"k"), Some(b"v1"), &[("h", Some(b"x"))]);
    builder.append(Timestamp(1_001), None, None, &[]);
    let batch = builder.build().unwrap();
    let hex: String = batch.iter().map(|byte| format!("{byte:02x}")).collect();
    let crc = &hex[34..42];
    let expected = [
        "0000000000000000", // base offset
        "00000046",         // bytes after this field: 49 of the header and 21 of the records
        "ffffffff",         // leader epoch
        "02",
        crc,                // compared with the oracle below
        "0000",             // attributes
        "00000001",         // last offset delta
        "00000000000003e8", // base timestamp
        "00000000000003e9", // max timestamp
        "ffffffffffffffff", // producer id
        "ffff",
        "ffffffff",
        "00000002", // records
        "1a",       // 13 bytes
        "00",
        "00",
        "00",
        "026b",   // key
        "047631", // value
        "02",     // one header
        "0268",   // its name
        "0278",   // its value
        "0c",     // 6 bytes
        "00",
        "02", // a millisecond later
        "02",
        "01", // null key
        "01", // null value
        "00",
    ];
    assert_eq!(hex, expected.concat());
    assert_eq!(crc, "78eaacd2");
}

#[test]
fn batches_agree_with_the_oracle() {
    use kafka_protocol::records::RecordBatchDecoder;
    let record: Owned =
        (5, Some(b"key".to_vec()), Some(b"value".to_vec()), vec![("h".to_owned(), None)]);
    let encoded = build(&[record.clone(), record], Compression::None);
    let decoded = RecordBatchDecoder::decode(&mut encoded.clone()).unwrap();
    assert_eq!(decoded.records.len(), 2);
    let second = &decoded.records[1];
    assert_eq!((second.offset, second.timestamp), (1, 5));
    assert_eq!((second.producer_id, second.producer_epoch, second.sequence), (77, 3, 13));
    assert_eq!(second.value.as_deref(), Some(&b"value"[..]));
    assert_eq!(second.headers.len(), 1);
}

#[test]
fn log_append_time_is_the_batch_s() {
    let mut batch = build(&[(5, None, None, vec![])], Compression::None).to_vec();
    batch[22] |= 0x08;
    batch[35..43].copy_from_slice(&99_i64.to_be_bytes());
    let batch = RecordBatch::decode(&seal(batch), 0).unwrap();
    assert_eq!(batch.iter().next().unwrap().unwrap().timestamp, Timestamp(99));
}

#[test]
fn counts_that_do_not_match_are_errors() {
    let one = build(&[(5, None, Some(b"v".to_vec()), vec![])], Compression::None).to_vec();
    let mut trailing = one.clone();
    trailing.push(0);
    let trailing = RecordBatch::decode(&seal(trailing), 0).unwrap();
    let last = trailing.iter().last().unwrap();
    assert!(matches!(last, Err(RecordError::Trailing(1))));

    let mut missing = one.clone();
    missing[26] = 1;
    missing[60] = 2;
    let missing = RecordBatch::decode(&seal(missing), 0).unwrap();
    let outcomes: Vec<_> = missing.iter().collect();
    assert_eq!(outcomes.len(), 2);
    assert!(matches!(outcomes[1], Err(RecordError::Truncated(1))));
}

#[test]
fn a_fetch_response_is_cut_into_batches() {
    let one = build(&[(5, None, Some(b"v".to_vec()), vec![])], Compression::None);
    let mut both = [&one[..], &one[..]].concat();
    both.extend_from_slice(&one[..65]);
    let found: Vec<_> = batches(Bytes::from(both.clone())).collect();
    assert_eq!(found, [Ok(one.clone()), Ok(one.clone())]);
    both[one.len() + 16] = 1;
    let found: Vec<_> = batches(Bytes::from(both)).collect();
    assert_eq!(found, [Ok(one), Err(BatchError::Magic(1))]);
}
