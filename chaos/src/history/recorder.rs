//! Writing a history while clients work.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::{Event, History};

/// Appends events to one file from any thread.
///
/// **Invariant:** a failed write is not lost: [`finish`](Self::finish) gives the first one.
#[derive(Debug)]
pub struct Recorder {
    begin: Instant,
    path: PathBuf,
    run: String,
    sink: Mutex<Sink>,
}

#[derive(Debug)]
struct Sink {
    file: BufWriter<File>,
    failed: Option<std::io::Error>,
}

impl Recorder {
    /// Makes the file and writes its head.
    ///
    /// # Errors
    /// The file exists or cannot be made.
    pub fn create(path: &Path, run: &str, seed: u64, command: &str) -> Result<Self> {
        let file = OpenOptions::new().append(true).create_new(true).open(path);
        let file = file.with_context(|| format!("making {}", path.display()))?;
        let started = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let recorder = Self {
            begin: Instant::now(),
            path: path.to_owned(),
            run: run.to_owned(),
            sink: Mutex::new(Sink { file: BufWriter::new(file), failed: None }),
        };
        recorder.record(&Event::Run {
            run: run.to_owned(),
            seed,
            command: command.to_owned(),
            started_unix_ms: started.as_millis() as u64,
        });
        Ok(recorder)
    }

    /// Names the run: the first part of its values.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Now, µs since the run began.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.begin.elapsed().as_micros() as u64
    }

    /// Appends one event; errors wait for [`finish`](Self::finish), since this is called from
    /// client callbacks that have nowhere to return one.
    pub fn record(&self, event: &Event) {
        let mut line = serde_json::to_vec(event).expect("an event is plain data");
        line.push(b'\n');
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = sink.file.write_all(&line)
            && sink.failed.is_none()
        {
            sink.failed = Some(error);
        }
    }

    /// Flushes, and reads the whole file back.
    ///
    /// # Errors
    /// A write failed, or the file does not read back.
    pub fn finish(&self) -> Result<History> {
        {
            let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
            sink.file.flush()?;
            if let Some(error) = sink.failed.take() {
                return Err(error).with_context(|| format!("writing {}", self.path.display()));
            }
        }
        History::read(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Poll;

    #[test]
    fn what_is_recorded_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.jsonl");
        let recorder = Recorder::create(&path, "r", 7, "demo").unwrap();
        let poll = Poll {
            consumer: "c".into(),
            partition: 1,
            offset: 2,
            value: "quotes \" and\nfeeds".into(),
            assignment: 1,
            at_us: recorder.now_us(),
        };
        recorder.record(&Event::Poll(poll.clone()));
        assert_eq!(recorder.finish().unwrap().polls, [poll]);
        assert!(Recorder::create(&path, "r", 7, "demo").is_err(), "a history is never overwritten");
    }
}
