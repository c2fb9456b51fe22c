//! Offsets by time: the log's index finds the batch, its records tell the exact one.
//!
//! This is the one place where a broker decodes records on behalf of a consumer: a single batch per
//! lookup, or a few where the log is compacted, each decompressed under a bound.

use std::sync::Mutex;

use jackdaw_raft::blocking;

use super::error::PartitionError;
use super::lock;
use super::replica::{Found, Partition, TimestampQuery};
use crate::model::compression::Compression;
use crate::model::record_batch::BatchHeader;
use crate::model::records::{DECOMPRESSED_BYTES_MAX, Record, RecordBatch};
use crate::model::{Offset, Timestamp};
use crate::storage::{BatchPosition, FileSlice, NewestRecord};

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
                Ok(Some(plain(start, self.log().epoch_of(start).unwrap_or(epoch))))
            }
            TimestampQuery::Max => self.newest(high),
            TimestampQuery::At(wanted) => self.first_at(wanted, high),
        }
    }

    /// The first record at or after `wanted`. Batches that lack it, because they are compacted, are
    /// passed over.
    fn first_at(&self, wanted: Timestamp, high: Offset) -> Result<Option<Found>, PartitionError> {
        let log = self.log();
        let mut from = log.start_offset();
        while let Some((position, slice)) =
            self.damage.check(log.offset_for_timestamp(wanted, from, high))?
        {
            let found = first_record(&position.header, &slice, wanted, log.start_offset())?;
            if found.is_some() {
                return Ok(found);
            }
            from = position.header.next_offset();
        }
        Ok(None)
    }

    /// The first record with the largest timestamp.
    fn newest(&self, high: Offset) -> Result<Option<Found>, PartitionError> {
        if let Some(found) = self.newest_by_index(self.log().start_offset(), high)? {
            return Ok(Some(found));
        }
        // The newest record of all is one that compaction took.
        let newest = self.log().newest_record(high, |from, upto| {
            let found = match self.newest_by_index(from, upto)? {
                None => blocking(|| self.newest_by_records(from, upto))?,
                found => found,
            };
            let newest =
                |Found { offset, timestamp, epoch }| NewestRecord { offset, timestamp, epoch };
            Ok::<_, PartitionError>(found.map(newest))
        })?;
        let found = |NewestRecord { offset, timestamp, epoch }| Found { offset, timestamp, epoch };
        Ok(newest.map(found))
    }

    /// The first record from `from` to `upto` with the largest timestamp that a batch there has, if there is
    /// such a record.
    fn newest_by_index(&self, from: Offset, upto: Offset) -> Result<Option<Found>, PartitionError> {
        let newest = self.damage.check(self.log().max_timestamp(from, upto))?;
        let Some((BatchPosition { header, .. }, slice)) = newest else { return Ok(None) };
        first_record(&header, &slice, header.max_timestamp, self.log().start_offset())
    }

    /// The same by looking into every batch that may have a newer record than those before.
    fn newest_by_records(
        &self,
        from: Offset,
        upto: Offset,
    ) -> Result<Option<Found>, PartitionError> {
        let log = self.log();
        let start = log.start_offset();
        let mut newest: Option<Found> = None;
        for position in self.damage.check(log.batch_headers(from.max(start), upto))? {
            let header = self.damage.check(position)?.header;
            let best = newest.map_or(Timestamp::NONE, |found| found.timestamp);
            let from = header.base_offset.max(start);
            if header.record_count == 0 || header.max_timestamp <= best {
                continue;
            }
            let slices = self.damage.check(log.slices(from, from.advance(1), 0, true));
            let Some(slice) = slices?.pop() else { continue };
            newest = newest_record(&header, &slice, best, start)?.or(newest);
        }
        Ok(newest)
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
    if header.is_log_append_time() && header.check_whole().is_ok() {
        let offset = header.base_offset.max(start);
        let found = Found { offset, timestamp: header.max_timestamp, epoch };
        return Ok(Some(found));
    }
    let batch = decode(header, slice)?;
    for record in &batch {
        let record = record.map_err(|error| unreadable(&error))?;
        if record.timestamp >= wanted && record.offset >= start {
            let Record { offset, timestamp, .. } = record;
            return Ok(Some(Found { offset, timestamp, epoch }));
        }
    }
    Ok(None)
}

/// The first record of a batch with the largest timestamp, if that is newer than `than`.
fn newest_record(
    header: &BatchHeader,
    slice: &FileSlice,
    than: Timestamp,
    start: Offset,
) -> Result<Option<Found>, PartitionError> {
    let (mut newest, epoch) = (None, header.leader_epoch);
    let mut best = than;
    for record in &decode(header, slice)? {
        let Record { offset, timestamp, .. } = record.map_err(|error| unreadable(&error))?;
        if timestamp > best && offset >= start {
            best = timestamp;
            newest = Some(Found { offset, timestamp, epoch });
        }
    }
    Ok(newest)
}

fn decode(header: &BatchHeader, slice: &FileSlice) -> Result<RecordBatch, PartitionError> {
    let bytes = slice.read().map_err(|error| unreadable(&error))?;
    let decode =
        || RecordBatch::decode(&bytes, DECOMPRESSED_BYTES_MAX).map_err(|error| unreadable(&error));
    if matches!(Compression::from_code(header.codec()), Ok(Compression::None)) {
        return decode();
    }
    // A small batch may hold very much: one at a time, and none on a thread that others wait for.
    static ONE: Mutex<()> = Mutex::new(());
    blocking(|| {
        let _one = lock(&ONE);
        decode()
    })
}

fn unreadable(error: &dyn std::fmt::Display) -> PartitionError {
    PartitionError::Storage(error.to_string())
}
