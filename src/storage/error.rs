//! What can go wrong with a partition's log.
//!
//! **Invariant:** bytes on disk that are not what was written give [`LogError::Corrupt`],
//! [`LogError::Lost`] or [`LogError::Short`], never a panic and never a silent cut of what was durable.

use std::io;
use std::path::PathBuf;

use super::open_files::{Scarcity, is_out_of_files};
use crate::model::Offset;
use crate::model::record_batch::BatchError;

/// An error of a [`super::Log`]. What is to be done about damage whoever
/// opens the log knows.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The operating system refused an operation on a file.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was attempted, as a verb phrase ("open", "read").
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Its reason.
        #[source]
        source: io::Error,
    },
    /// A change beside what is in use failed: the log goes on as it was.
    #[error("cannot {doing} {path}: {source}")]
    Refused {
        /// What was attempted, as a verb phrase.
        doing: &'static str,
        /// The folder of the log.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The disk has no room; nothing of the refused append was written, the log stays usable.
    #[error("no space left on the volume of {path}: {needed_bytes} more bytes are needed")]
    Full {
        /// The segment that could not grow.
        path: PathBuf,
        /// Bytes that did not fit.
        needed_bytes: u64,
    },
    /// Bytes that had been durable, or that valid data follows, are damaged.
    #[error("{path} is damaged at byte {position} ({what})")]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// Where in it, in bytes from its start.
        position: u64,
        /// What is wrong there.
        what: String,
    },
    /// Entries that this node had on disk are not there any more.
    #[error(
        "{path} ends before entry {missing_index} although entries up to {durable_index} were \
         durable here"
    )]
    Lost {
        /// The folder of the log.
        path: PathBuf,
        /// First missing index.
        missing_index: u64,
        /// Last index that must be there.
        durable_index: u64,
    },
    /// The log ends before entries of which only the caller knew that they were on the disk: by itself it
    /// looks like one whose last append was never confirmed.
    #[error(
        "{path} ends before entry {missing_index} ({what}) although entries up to {durable_index} were \
         committed and durable here"
    )]
    Short {
        /// The folder of the log.
        path: PathBuf,
        /// First missing index.
        missing_index: u64,
        /// Last index that must be there.
        durable_index: u64,
        /// What is in the place of the first missing entry, with file and position.
        what: String,
    },
    /// The folder belongs to another cluster, topic or partition.
    #[error("{path} belongs to {found}, not to {wanted}: move the folder away")]
    WrongIdentity {
        /// The segment.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// An appended entry does not continue the log.
    #[error("entry {index} of term {term} does not continue the log, which ends at {last}")]
    NotNext {
        /// The entry's term.
        term: u64,
        /// The entry's index.
        index: u64,
        /// The log's last entry, as text ("term-index", or "nothing").
        last: String,
    },
    /// A stamped batch does not carry the offset or the epoch that this log would give it, so the
    /// leader's prefix is not ours.
    #[error(
        "entry {index} is stamped offset {found_offset} epoch {found_epoch}, expected offset \
         {wanted_offset} epoch {wanted_epoch}: the replicas' logs differ"
    )]
    Diverged {
        /// The entry's index.
        index: u64,
        /// Base offset in the batch.
        found_offset: Offset,
        /// Leader epoch in the batch.
        found_epoch: i64,
        /// The log's end offset.
        wanted_offset: Offset,
        /// The entry's term.
        wanted_epoch: u64,
    },
    /// An appended entry's batch is malformed.
    #[error("entry {index} is not a sound record batch: {source}")]
    Batch {
        /// The entry's index.
        index: u64,
        /// Why.
        #[source]
        source: BatchError,
    },
    /// An entry that no segment can hold.
    #[error("entry {index} cannot be stored: {what}")]
    Unstorable {
        /// The entry's index.
        index: u64,
        /// Why.
        what: String,
    },
    /// A segment cannot be compacted: it stays as it is, and is served as before.
    #[error(
        "{path} cannot be compacted because of the batch at byte {position} ({what}): its log is \
         left alone until the node starts again"
    )]
    Uncompactable {
        /// The segment.
        path: PathBuf,
        /// Where in it, in bytes from its start.
        position: u64,
        /// Why.
        what: String,
    },
    /// The index was removed by [`super::Log::purge`] or lies beyond the end.
    #[error("index {index} is outside of the log, which holds {first} to {last}")]
    OutOfRange {
        /// What was asked for.
        index: u64,
        /// First index held.
        first: u64,
        /// Last index held (`first` − 1 when empty).
        last: u64,
    },
    /// The offset lies below the start offset or above the end offset.
    #[error("offset {offset} is outside of the log, which holds {start} to {end} (exclusive)")]
    OffsetOutOfRange {
        /// What was asked for.
        offset: Offset,
        /// Start offset.
        start: Offset,
        /// End offset.
        end: Offset,
    },
    /// A write or a sync failed earlier: the log takes no more writes.
    #[error("the log in {path} takes no writes since an earlier write or sync failed")]
    Failed {
        /// The folder of the log.
        path: PathBuf,
    },
}

impl LogError {
    /// Wraps an operating system error; for `map_err`.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }

    /// Whether the log is not what was written, or the disk does not give it back: it is to be got back
    /// from elsewhere.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. } | Self::Lost { .. } | Self::Short { .. } => true,
            Self::Io { source, .. } => is_unreadable(source),
            _ => false,
        }
    }

    /// Whether an append that failed so left the log as it was, and may succeed later: the disk is
    /// full, or there is no file descriptor left.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Full { .. }) || self.is_out_of_files()
    }

    /// Whether the disk is full, so that the caller may refuse writes and go on.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

impl Scarcity for LogError {
    fn is_out_of_files(&self) -> bool {
        match self {
            Self::Io { source, .. } | Self::Refused { source, .. } => is_out_of_files(source),
            _ => false,
        }
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::Io { source, .. } | LogError::Refused { source, .. } => source.kind(),
            LogError::Full { .. } => io::ErrorKind::StorageFull,
            LogError::Uncompactable { .. }
            | LogError::Corrupt { .. }
            | LogError::Lost { .. }
            | LogError::Short { .. }
            | LogError::Diverged { .. } => io::ErrorKind::InvalidData,
            LogError::WrongIdentity { .. }
            | LogError::NotNext { .. }
            | LogError::Batch { .. }
            | LogError::Unstorable { .. }
            | LogError::OutOfRange { .. }
            | LogError::OffsetOutOfRange { .. } => io::ErrorKind::InvalidInput,
            LogError::Failed { .. } => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// Whether the medium is at fault, or ends before what was written, and not the system's means: what
/// drivers and file systems say of sectors that cannot be read, and of metadata that is damaged.
fn is_unreadable(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let of_medium = |errno| {
        matches!(
            errno,
            Errno::IO
                | Errno::NODATA
                | Errno::REMOTEIO
                | Errno::ILSEQ
                | Errno::BADMSG
                | Errno::UCLEAN
        )
    };
    error.kind() == io::ErrorKind::UnexpectedEof
        || Errno::from_io_error(error).is_some_and(of_medium)
}

/// Whether the system had no space for what was to be written.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Whether the reason is one that may pass by itself: a full disk, no file descriptor left.
pub(crate) fn may_pass(error: &io::Error) -> bool {
    is_full(error) || is_out_of_files(error)
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_medium_that_cannot_be_read_is_damage_and_a_system_without_means_is_not() {
        let is_damage = |errno: Errno| LogError::io("read", "x")(errno.into()).is_damage();
        assert!([Errno::IO, Errno::NODATA, Errno::UCLEAN].into_iter().all(is_damage));
        let passing = [Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::NOSPC, Errno::INTR];
        assert!(!passing.into_iter().any(is_damage));
        assert!(LogError::io("read", "x")(io::ErrorKind::UnexpectedEof.into()).is_damage());
        let source = Errno::IO.into();
        let refused = LogError::Refused { doing: "compact", path: "x".into(), source };
        assert!(!refused.is_damage(), "nothing that was written is affected");
    }
}
