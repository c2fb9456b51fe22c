//! Files: a partition's log in segments, the group sync, the record of what must not be
//! forgotten, the small key-value store, the data folder.
//!
//! **Invariant:** nothing here knows Raft's rules or Kafka's requests: a log is told what to append,
//! truncate and purge.
//! **Invariant:** what was once reported as on disk is returned, or its loss is an error.

mod background;
mod ballast;
mod bit_flip;
mod cache;
mod checked;
mod checkpoint;
mod data_dir;
mod data_dir_error;
mod disk;
mod durable;
mod durable_file;
mod entry;
mod epochs;
mod error;
mod file_map;
mod file_slice;
mod frame;
mod identity;
mod idle_points;
mod index;
pub mod kv;
mod locks;
mod log;
mod open_files;
mod options;
mod remover;
mod retained;
mod segment;
mod segment_files;
mod segment_head;
mod shared;
mod slice_ends;
mod space;
mod stable;
mod sync_choice;
mod syncer;
mod verify;
mod walker;
mod workers;

pub use data_dir::{DataDir, FoundPartitions, NodeIdentity, PartitionFolder, partitions_of};
pub use data_dir_error::DataDirError;
pub use disk::{Disk, FatalHook, SystemDisk, abort_process};
pub use durable::Durable;
pub use entry::{EntryBody, EntryId, LogEntry};
pub use error::LogError;
pub(crate) use error::{is_full, may_pass};
pub use file_map::FileMap;
pub use file_slice::{FileSlice, ReadWatch, slices_len};
pub use identity::LogIdentity;
pub use log::{
    Appended, BatchHeaders, BatchPosition, Committed, Compacted, Compaction, CompactionLimits,
    Dirt, DurableEnd, History, HistoryItem, Log, NewestRecord, Recovery, RetainFrom,
    RetentionLimits, SegmentInfo, read_identity,
};
pub use open_files::Wait;
pub use options::{FlushPolicy, LogOptions, RollLimits};
pub use remover::PurgedTotals;
pub use shared::{Storage, StorageOptions};
pub use space::DiskSpace;
pub use stable::{Found, Recovered, StableError, StableKey, StableStore, StableValue};
pub use syncer::SyncDone;
pub use verify::{Problem, VerifyRange, VerifyReport, verify_log_dir};
pub use workers::{Job, Workers};
