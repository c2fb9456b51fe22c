//! What becomes of a batch on topics of each kind.

use super::*;
use crate::model::batch_builder::BatchBuilder;
use crate::model::record_batch::{self, CRC_START};
use crate::model::records::RecordBatch;

const LIMITS: RecordLimits = RecordLimits {
    message_bytes_max: 1 << 20,
    segment_bytes_max: 1 << 30,
    timestamp_before_max_ms: 1_000,
    timestamp_after_max_ms: 100,
    log_append_time: false,
    compacted: false,
    codec: None,
};
const NOW: Timestamp = Timestamp(50_000);

fn batch(codec: Compression, times: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for time in times {
        let value = time.to_string().repeat(20);
        builder.append(Timestamp(*time), Some(b"k"), Some(value.as_bytes()), &[("h", None)]);
    }
    builder.build().unwrap()
}

fn run(batch: &Bytes, limits: &RecordLimits) -> Result<Accepted, Refusal> {
    let header = record_batch::validate(batch).unwrap();
    let accepted = accept(batch.clone(), &header, limits, NOW)?;
    assert_eq!(record_batch::validate(&accepted.batch), Ok(accepted.header));
    assert_eq!(accepted.header.size_bytes(), accepted.batch.len());
    Ok(accepted)
}

/// The values and the timestamps of a batch's records.
fn contents(batch: &Bytes) -> Vec<(Vec<u8>, i64)> {
    let batch = RecordBatch::decode(batch, 1 << 20).unwrap();
    let records = batch.iter().map(|record| {
        let record = record.unwrap();
        assert_eq!((record.key, record.headers.as_slice()), (Some(&b"k"[..]), &[("h", None)][..]));
        (record.value.unwrap().to_vec(), record.timestamp.0)
    });
    records.collect()
}

fn reseal(mut batch: Vec<u8>) -> Bytes {
    let crc = crc32c::crc32c(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(batch)
}

#[test]
fn a_right_batch_is_kept_as_it_is() {
    for codec in Compression::ALL {
        let sent = batch(codec, &[49_500, 50_050, -1]);
        let accepted = run(&sent, &LIMITS).unwrap();
        assert_eq!(accepted.batch.as_ptr(), sent.as_ptr());
        assert_eq!(accepted.append_time, None);
    }
}

#[test]
fn a_wrong_largest_timestamp_is_set_right() {
    for codec in Compression::ALL {
        let mut claimed = batch(codec, &[49_500, 50_050, 49_900]).to_vec();
        claimed[35..43].copy_from_slice(&i64::MAX.to_be_bytes());
        let accepted = run(&reseal(claimed), &LIMITS).unwrap();
        assert_eq!(accepted.batch, batch(codec, &[49_500, 50_050, 49_900]));
    }
}

#[test]
fn times_out_of_range_are_refused_record_by_record() {
    for codec in Compression::ALL {
        let refusal = run(&batch(codec, &[50_000, 48_999, 49_000, 50_101]), &LIMITS).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidTimestamp);
        let indexes: Vec<i32> = refusal.records.iter().map(|(index, _)| *index).collect();
        assert_eq!(indexes, [1, 3]);
        assert_eq!(refusal.record_errors()[1].batch_index, 3);
    }
}

#[test]
fn compacted_topics_take_records_with_keys_only() {
    let limits = RecordLimits { compacted: true, ..LIMITS };
    for codec in Compression::ALL {
        run(&batch(codec, &[50_000]), &limits).unwrap();
        let mut builder = BatchBuilder::new(codec);
        builder.append(NOW, Some(b""), None, &[]);
        builder.append(NOW, None, Some(b"v"), &[]);
        let refusal = run(&builder.build().unwrap(), &limits).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::InvalidRecord);
        assert_eq!(refusal.records.len(), 1);
        assert_eq!(refusal.records[0].0, 1);
    }
}

#[test]
fn append_times_replace_all_others() {
    let limits = RecordLimits { log_append_time: true, ..LIMITS };
    for codec in Compression::ALL {
        // The producer's times are nobody's business here.
        let sent = batch(codec, &[7, i64::MAX, -1]);
        let accepted = run(&sent, &limits).unwrap();
        assert_eq!(accepted.append_time, Some(NOW));
        assert!(accepted.header.is_log_append_time());
        assert!(contents(&accepted.batch).iter().all(|(_, time)| *time == NOW.0));
        let kept = contents(&accepted.batch).into_iter().map(|(value, _)| value);
        assert!(kept.eq(contents(&sent).into_iter().map(|(value, _)| value)));
        assert_eq!(accepted.header.base_timestamp, Timestamp(7));
    }
}

#[test]
fn records_are_compressed_as_the_topic_asks() {
    for compression in Compression::ALL {
        let codec = Some(Codec { compression, level: Some(5) });
        for log_append_time in [false, true] {
            let limits = RecordLimits { codec, log_append_time, ..LIMITS };
            for producers in Compression::ALL {
                let sent = batch(producers, &[49_500, 50_050]);
                let accepted = run(&sent, &limits).unwrap();
                assert_eq!(accepted.header.codec(), compression.code());
                let expected: Vec<_> = contents(&sent)
                    .into_iter()
                    .map(|(value, time)| (value, if log_append_time { NOW.0 } else { time }))
                    .collect();
                assert_eq!(contents(&accepted.batch), expected);
                assert_eq!(accepted.append_time.is_some(), log_append_time);
                if compression == producers && !log_append_time {
                    assert_eq!(accepted.batch.as_ptr(), sent.as_ptr());
                }
            }
        }
    }
}

#[test]
fn what_grows_too_large_in_the_topic_s_codec_is_refused() {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.append(NOW, Some(b"k"), Some(&vec![0; 2 << 20]), &[]);
    let sent = builder.build().unwrap();
    run(&sent, &LIMITS).unwrap();
    let codec = |compression| Some(Codec { compression, level: None });
    let plain = RecordLimits { codec: codec(Compression::None), ..LIMITS };
    assert_eq!(run(&sent, &plain).unwrap_err().code, ErrorCode::MessageTooLarge);
    run(&sent, &RecordLimits { codec: codec(Compression::Gzip), ..LIMITS }).unwrap();
    let small = RecordLimits { segment_bytes_max: 1 << 10, ..LIMITS };
    let small = RecordLimits { codec: codec(Compression::Gzip), ..small };
    assert_eq!(run(&sent, &small).unwrap_err().code, ErrorCode::RecordListTooLarge);
}

#[test]
fn bombs_and_garbage_are_refused_in_every_way() {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    builder.append(NOW, Some(b"k"), Some(&vec![0; 20 << 20]), &[]);
    let bomb = builder.build().unwrap();
    let small = RecordLimits { message_bytes_max: 10_000, ..LIMITS };
    assert_eq!(run(&bomb, &small).unwrap_err().code, ErrorCode::MessageTooLarge);
    run(&bomb, &LIMITS).unwrap();

    let gzip = Some(Codec { compression: Compression::Gzip, level: None });
    for limits in [LIMITS, RecordLimits { codec: gzip, ..LIMITS }] {
        for codec in [Compression::Snappy, Compression::Lz4, Compression::Zstd] {
            let mut garbage = batch(codec, &[50_000]).to_vec();
            garbage[HEADER_BYTES..].fill(0x55);
            let refusal = run(&reseal(garbage), &limits).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::InvalidRecord, "{codec}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_batches_are_accepted_on_every_runtime() {
    let mut builder = BatchBuilder::new(Compression::Lz4);
    let value: Vec<u8> = (0..200_000_u32).flat_map(|n| n.wrapping_mul(n).to_le_bytes()).collect();
    builder.append(NOW, Some(b"k"), Some(&value), &[]);
    let sent = builder.build().unwrap();
    assert!(sent.len() > BLOCKING_BYTES_MIN);
    run(&sent, &LIMITS).unwrap();
    tokio::task::spawn_blocking(move || {
        let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
        one.block_on(async { run(&sent, &LIMITS).unwrap() });
    })
    .await
    .unwrap();
}
