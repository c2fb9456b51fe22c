//! How entries get into the active segment's file: one way for durable logs, one for relaxed ones.
//!
//! | log | way | why |
//! |---|---|---|
//! | durable | `pwritev` | a store into a mapped page that is being written back waits for the disk, and here a sync nearly always runs |
//! | relaxed | a copy into a map of the preallocated part | no system call per append, and syncs are rare |
//!
//! Which one is decided append by append, so that a topic can change. The map reaches from the log's end to
//! the end of what is allocated, a few MiB, and is made anew when that grows.
//!
//! **Invariant:** no map outlives the segment's time as the active one, nor a cut of its file.
//! **Invariant:** a store through a map is a write of the file, which is open for it and stays so until a
//! sync of it is noted. (In between, the map alone may be left: it needs no descriptor.)

use std::fs::File;
use std::io::{self, IoSlice};

use crate::storage::Disk;
use crate::storage::file_map::FileMap;
use crate::storage::segment::{End, Segment};

use super::Inner;
use super::append::Writer;

/// Where the next entries go.
#[derive(Default)]
pub(super) enum Output {
    /// Into the file.
    #[default]
    File,
    /// Into a map of its allocated part.
    Map(FileMap),
    /// Into the file, whatever the log: its blocks cannot be allocated ahead, or it cannot be mapped.
    FileOnly,
}

impl Inner {
    /// Picks the way for the bytes from `end` to `upto`, which are allocated.
    pub(super) fn choose_output(
        &self,
        writer: &mut Writer,
        segment: &Segment,
        end: &End,
        upto: u64,
    ) {
        match &writer.output {
            _ if !self.flush.is_relaxed() => writer.output = Output::File,
            Output::FileOnly => {}
            Output::Map(map) if map.reaches(upto) => {}
            Output::Map(_) | Output::File => match self.map_rest(writer, segment, end) {
                Ok(map) => self.replace_map(writer, map),
                Err(error) => {
                    let path = segment.path.display();
                    tracing::warn!(%error, %path, "a segment is written to without a map");
                    writer.output = Output::FileOnly;
                }
            },
        }
    }

    fn map_rest(&self, writer: &Writer, segment: &Segment, end: &End) -> io::Result<FileMap> {
        let file = segment.file().map_err(io::Error::from)?;
        self.map_room(&file, end.position, writer.allocated)
    }

    /// Goes on with `map`. Undoing the old one's pages takes a while: nobody waits for that.
    pub(super) fn replace_map(&self, writer: &mut Writer, map: FileMap) {
        let old = std::mem::replace(&mut writer.output, Output::Map(map));
        if let Output::Map(old) = old {
            // Where there is no thread for it, it is undone here.
            let _ = self.storage.background.run(move || drop(old));
        }
    }

    /// Writes all of `slices` at `position` of `file`; returns their bytes.
    pub(super) fn put(
        &self,
        output: &mut Output,
        file: &File,
        slices: &mut [IoSlice<'_>],
        position: u64,
    ) -> io::Result<u64> {
        let disk: &dyn Disk = &*self.storage.disk;
        match output {
            Output::File | Output::FileOnly => disk.write_all_at(file, slices, position),
            Output::Map(map) => {
                disk.store(file, map, slices, position)?;
                Ok(slices.iter().map(|slice| slice.len() as u64).sum())
            }
        }
    }
}
