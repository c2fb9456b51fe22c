//! From a batch whose header is right to the batch that is appended.
//!
//! Kafka's `LogValidator` for v2 batches: every record is looked at, the largest timestamp is set
//! right, the append time is stamped where the topic wants it, and the records are compressed anew
//! where the topic names another codec than theirs.
//!
//! ```text
//! codec as wanted   walk ─► header corrected, if need be
//! another codec     decompress ─► walk ─► compress ─► new batch        piece by piece, in one pass
//! ```
//!
//! **Invariant:** a batch that is accepted decodes to its last record, and its records are the
//! producer's, byte for byte, under whatever codec.
//! **Invariant:** beside the batch itself, the memory taken is bounded by the codec's windows and, for
//! one that is compressed anew, by `max.message.bytes`.

use std::io::{self, Write};

use bytes::Bytes;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::refusal::Refusal;
use crate::model::Timestamp;
use crate::model::batch_amend::{with_records, with_time};
use crate::model::compression::{Codec, Compression};
use crate::model::record_batch::{BatchHeader, HEADER_BYTES};
use crate::model::record_walk::{RecordRules, Walked, walk, walk_compressed};
use crate::model::records::{DECOMPRESSED_BYTES_MAX, RecordError};
use crate::partition::RecordLimits;
use crate::protocol::ErrorCode;

/// What compressed records may grow to, in terms of the topic's largest batch …
const EXPANSION_MAX: usize = 128;
/// … but at least this, so that topics of small batches take well compressed ones.
const DECOMPRESSED_BYTES_MIN: usize = 16 << 20;
/// From this size on, codecs run where they do not keep other tasks of the runtime waiting. Smaller
/// batches take less time than moving would.
const BLOCKING_BYTES_MIN: usize = 32 << 10;

/// A batch that may be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    /// The batch, corrected.
    pub(super) batch: Bytes,
    /// Its header.
    pub(super) header: BatchHeader,
    /// The append time in it; `None` where it has its records' create times.
    pub(super) append_time: Option<Timestamp>,
}

/// Looks at the records of a batch whose header has been validated, and makes of the batch what the
/// topic asks for.
///
/// # Errors
/// A [`Refusal`] with the code that Kafka gives.
pub(super) fn accept(
    batch: Bytes,
    header: &BatchHeader,
    limits: &RecordLimits,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    let source = Compression::from_code(header.codec()).map_err(RecordError::from)?;
    let target = limits.codec.filter(|codec| codec.compression != source);
    let is_heavy = source != Compression::None || target.is_some();
    let accept = || match target {
        None => keep(batch, header, limits, now),
        Some(codec) => recompress(&batch, header, codec, limits, now),
    };
    if is_heavy && header.size_bytes() >= BLOCKING_BYTES_MIN { blocking(accept) } else { accept() }
}

/// Runs on this very thread, so that batches stay in order, while another thread takes over the
/// runtime's other tasks; a runtime of one thread has none to spare.
fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

fn keep(
    batch: Bytes,
    header: &BatchHeader,
    limits: &RecordLimits,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    let rules = rules(limits, now);
    let records = &batch[HEADER_BYTES..];
    let walked = if header.codec() == Compression::None.code() {
        walk(header, records, &rules)?
    } else {
        walk_compressed(header, records, decompressed_bytes_max(limits), &rules, |_| Ok(()))?
    };
    let (append_time, max_timestamp) = judge(&walked, limits, now)?;
    let is_right = append_time.is_none()
        && !header.is_log_append_time()
        && header.max_timestamp == max_timestamp;
    let (batch, header) = if is_right {
        (batch, *header)
    } else {
        with_time(batch, header, append_time.is_some(), max_timestamp)
    };
    Ok(Accepted { batch, header, append_time })
}

fn recompress(
    batch: &[u8],
    header: &BatchHeader,
    codec: Codec,
    limits: &RecordLimits,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    let (head, records) = batch.split_at(HEADER_BYTES);
    let input_bytes = (header.codec() == Compression::None.code()).then_some(records.len());
    let mut out = BoundedBatch { batch: Vec::new(), bytes_max: limits.message_bytes_max };
    // An error of the codec that is asked for is no fault of the client's, but for a batch that
    // grows too large.
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::FileTooLarge => too_large(limits),
        _ => Refusal::new(ErrorCode::UnknownServerError, format!("compression failed: {error}")),
    };
    out.write_all(head).map_err(failed)?;
    let mut encoder = codec.encoder(out, input_bytes).map_err(failed)?;
    let mut encoding = Ok(());
    let outcome = walk_compressed(
        header,
        records,
        decompressed_bytes_max(limits),
        &rules(limits, now),
        |piece| {
            encoder.write_all(piece).map_err(|error| {
                encoding = Err(error);
                io::ErrorKind::Other.into()
            })
        },
    );
    encoding.map_err(failed)?;
    let (append_time, max_timestamp) = judge(&outcome?, limits, now)?;
    let out = encoder.finish().map_err(failed)?;
    if out.batch.len() > limits.segment_bytes_max {
        return Err(Refusal::new(
            ErrorCode::RecordListTooLarge,
            "the batch, compressed as the topic asks, is larger than segment.bytes of the topic",
        ));
    }
    let (codec, is_append_time) = (codec.compression.code(), append_time.is_some());
    let (batch, header) = with_records(out.batch, header, codec, is_append_time, max_timestamp);
    Ok(Accepted { batch, header, append_time })
}

fn rules(limits: &RecordLimits, now: Timestamp) -> RecordRules {
    let key_required = limits.compacted;
    if limits.log_append_time {
        return RecordRules { key_required, ..RecordRules::NONE };
    }
    RecordRules {
        oldest: Timestamp(now.0.saturating_sub(limits.timestamp_before_max_ms)),
        newest: Timestamp(now.0.saturating_add(limits.timestamp_after_max_ms)),
        key_required,
    }
}

/// The batch's append time, if it gets one, and its largest timestamp.
fn judge(
    walked: &Walked,
    limits: &RecordLimits,
    now: Timestamp,
) -> Result<(Option<Timestamp>, Timestamp), Refusal> {
    match Refusal::of_faults(walked) {
        Some(refusal) => Err(refusal),
        None if limits.log_append_time => Ok((Some(now), now)),
        None => Ok((None, walked.max_timestamp)),
    }
}

/// The bound on what a batch's records are when decompressed.
fn decompressed_bytes_max(limits: &RecordLimits) -> usize {
    let relative = limits.message_bytes_max.saturating_mul(EXPANSION_MAX);
    relative.clamp(DECOMPRESSED_BYTES_MIN, DECOMPRESSED_BYTES_MAX)
}

fn too_large(limits: &RecordLimits) -> Refusal {
    Refusal::new(
        ErrorCode::MessageTooLarge,
        format!(
            "the batch, compressed as the topic asks, has more than {} bytes, max.message.bytes of \
             the topic",
            limits.message_bytes_max
        ),
    )
}

/// A batch that is being written, up to the topic's largest.
struct BoundedBatch {
    batch: Vec<u8>,
    bytes_max: usize,
}

impl Write for BoundedBatch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.bytes_max.saturating_sub(self.batch.len()) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.batch.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
