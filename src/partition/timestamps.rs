//! Offsets by time: the log's index finds the batch, its records tell the exact one.
//!
//! This is the one place where a broker decodes records on behalf of a consumer: a single batch per
//! lookup, decompressed under a bound.

use super::error::PartitionError;
use super::replica::{Found, Partition, TimestampQuery};
use crate::model::record_batch::BatchHeader;
use crate::model::records::{DECOMPRESSED_BYTES_MAX, Record, RecordBatch};
use crate::model::{LeaderEpoch, Offset, Timestamp};
use crate::storage::FileSlice;

impl Partition {
    /// Answers a ListOffsets query below the high watermark; `None` where no record fits.
    ///
    /// # Errors
    /// As [`Partition::check_leader`], or [`PartitionError::Storage`].
    pub fn list_offset(
        &self,
        query: TimestampQuery,
        known_epoch: i32,
    ) -> Result<Option<Found>, PartitionError> {
        let epoch = self.check_leader(known_epoch)?;
        let high = self.high_watermark();
        let plain = |offset, epoch| Found { offset, timestamp: Timestamp::NONE, epoch };
        match query {
            TimestampQuery::Latest => Ok(Some(plain(high, epoch))),
            TimestampQuery::Earliest => {
                let start = self.log().start_offset();
                Ok(Some(plain(start, self.epoch_at(start, high)?.unwrap_or(epoch))))
            }
            TimestampQuery::Max => {
                let Some((position, slice)) = self.log().max_timestamp(high)? else {
                    return Ok(None);
                };
                let wanted = position.header.max_timestamp;
                first_record(&position.header, &slice, wanted, self.log().start_offset())
            }
            TimestampQuery::At(wanted) => {
                let Some((position, slice)) = self.log().offset_for_timestamp(wanted, high)? else {
                    return Ok(None);
                };
                first_record(&position.header, &slice, wanted, self.log().start_offset())
            }
        }
    }

    /// The epoch of the record at `offset`, if there is one.
    fn epoch_at(
        &self,
        offset: Offset,
        high: Offset,
    ) -> Result<Option<LeaderEpoch>, PartitionError> {
        let mut headers = self.log().batch_headers(offset, high)?;
        let first = headers.next().transpose()?;
        Ok(first.map(|batch| batch.header.leader_epoch))
    }
}

/// The first record of a batch at or after `wanted` that is not deleted.
fn first_record(
    header: &BatchHeader,
    slice: &FileSlice,
    wanted: Timestamp,
    start: Offset,
) -> Result<Option<Found>, PartitionError> {
    let epoch = header.leader_epoch;
    // An append-time batch has one timestamp for all its records.
    if header.is_log_append_time() {
        let offset = header.base_offset.max(start);
        let found = Found { offset, timestamp: header.max_timestamp, epoch };
        return Ok(Some(found));
    }
    let storage = |error: &dyn std::fmt::Display| PartitionError::Storage(error.to_string());
    let bytes = slice.read().map_err(|error| storage(&error))?;
    let batch = RecordBatch::decode(&bytes, DECOMPRESSED_BYTES_MAX);
    let batch = batch.map_err(|error| storage(&error))?;
    for record in &batch {
        let record = record.map_err(|error| storage(&error))?;
        if record.timestamp >= wanted && record.offset >= start {
            let Record { offset, timestamp, .. } = record;
            return Ok(Some(Found { offset, timestamp, epoch }));
        }
    }
    Ok(None)
}
