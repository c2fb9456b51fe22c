//! Nouns without I/O: offsets, epochs, partitions, record batches, clocks.
//!
//! **Invariant:** nothing here opens a file, a socket or a task.

pub mod batch_amend;
pub mod batch_builder;
pub mod batch_filter;
mod byte_source;
mod clock;
pub mod compression;
mod ids;
pub(crate) mod log_limit;
pub mod record_batch;
pub mod record_walk;
pub mod records;

pub use clock::{Clock, ManualClock, SystemClock};
pub(crate) use jackdaw_mutant as mutant;

pub use ids::{
    BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId,
    TopicPartition,
};
